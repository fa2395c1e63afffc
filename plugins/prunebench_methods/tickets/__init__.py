"""Lottery tickets: masks that are found by training and trained again from the start."""

from __future__ import annotations

from prunebench import Method

from prunebench_methods.tickets.lottery_ticket import LotteryTicket

METHODS: list[type[Method]] = [
    LotteryTicket,
]
