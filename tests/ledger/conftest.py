import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only lose time to a second thread, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
