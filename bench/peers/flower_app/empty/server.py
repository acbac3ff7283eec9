"""FedAvg over nothing with three nodes; writes a time, in seconds, at the start of every round and at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

NODES = 3
app = ServerApp()


class Timed(FedAvg):
    def __init__(self, times: Path) -> None:
        super().__init__(min_train_nodes=NODES, min_evaluate_nodes=NODES, min_available_nodes=NODES)
        self._times = times

    def note(self) -> None:
        with self._times.open("a") as file:
            file.write(f"{time.monotonic()}\n")

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self.note()
        return super().configure_train(server_round, arrays, config, grid)


@app.main()
def main(grid: Grid, context: Context) -> None:
    strategy = Timed(Path(str(context.run_config["times"])))
    strategy.start(grid, ArrayRecord(), num_rounds=int(context.run_config["rounds"]))
    strategy.note()
