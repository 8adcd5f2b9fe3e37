"""A man in the middle (middle.py) between everybody and the bus, while all are at work."""

from middle import HARM
from reports import report_of


def test_f34_messages_that_are_lost_doubled_replayed_late_or_out_of_turn_do_no_harm(tmp_path, tell):
    report = report_of(tmp_path, CHAOS_FAULTS="messages", CHAOS_REPLICAS=2)
    assert report["status"] == 0, report["output"]
    figures = report["figures"]
    assert figures["faults"] > 0 and figures["commands_acknowledged"] > 0
    assert not [harm for harm in HARM if not figures["messages"].get(harm)], figures["messages"]
    tell(f"chaos: messages between all and the bus: {figures['messages']}; {figures['commands_acknowledged']} commands"
         f" acknowledged, {figures['replayed']} of them by an answer given before")
