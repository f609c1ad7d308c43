from ccmusic.process.service_links import is_service_link, without_service_links


def test_the_variables_of_a_service_are_links():
    for name, value in {
        "CCMUSIC_SERVICE_HOST": "10.0.0.1",
        "CCMUSIC_SERVICE_PORT_HTTP": "7860",
        "CCMUSIC_PORT": "tcp://10.0.0.1:7860",
        "CCMUSIC_PORT_7860_TCP_ADDR": "10.0.0.1",
        "CCMUSIC_MANAGEMENT_PORT_53_UDP": "udp://10.0.0.1:53",
    }.items():
        assert is_service_link(name, value)


def test_a_setting_is_no_link():
    assert not is_service_link("CCMUSIC_PORT", "7860")
    assert not is_service_link("CCMUSIC_MANAGMENT_PORT", "7861")
    assert not is_service_link("CCMUSIC_HUB_ENDPOINT", "tcp://10.0.0.1:7860")


def test_only_links_are_left_out():
    variables = {"ccmusic_port": "tcp://10.0.0.1:1", "ccmusic_host": "::", "ccmusic_management_port": "7861"}
    assert without_service_links(variables) == {"ccmusic_host": "::", "ccmusic_management_port": "7861"}
