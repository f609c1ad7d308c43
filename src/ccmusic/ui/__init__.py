"""The page; the only home of Gradio."""
