import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small networks lose time to a second thread, and sums over another number of threads round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
