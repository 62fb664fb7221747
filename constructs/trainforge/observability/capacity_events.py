"""Events of reserved capacity that end in the topics of alerts: what no exporter on a node sees."""

from __future__ import annotations

from trainforge.notifications import Notifications

EXPIRY = ("Capacity Block Expiration Warning", "Capacity Block Reservation Expiration Warning")
"""The event 40 minutes before a Capacity Block ends (EC2 User Guide, "Monitor Capacity Blocks using EventBridge"); two
editions of the page spell it in two ways."""
ENDED = (
    "EC2 Capacity Reservation Cancelled",
    "EC2 Capacity Reservation Expired",
    "EC2 Capacity Reservation Failed",
)
"""The events of a reservation that is no more. EC2's User Guide ("Monitor state changes for future-dated Capacity
Reservations") has Expired and Failed, of future-dated ones; Cancelled, and these events of others, are unverified."""
EC2 = "aws.ec2"


def notify_of_reservations(ids: list[str], *, ending: Notifications, ended: Notifications) -> None:
    """Send the end of reservations to topics: `ending` 40 minutes before that of a Capacity Block, `ended` after it."""
    detail = {"capacity-reservation-id": ids}
    ending.on(
        "ReservationEnding",
        description="A Capacity Block ends in 40 minutes, and its instances in 10",
        source=EC2,
        detail_types=EXPIRY,
        detail=detail,
    )
    ended.on(
        "ReservationEnded",
        description="A capacity reservation ended",
        source=EC2,
        detail_types=ENDED,
        detail=detail,
    )
