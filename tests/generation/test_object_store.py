"""The same set in an object store that speaks S3: a real server of it, on this machine."""

import pytest

from crossray.data.shards import Shards
from crossray.data.store import Store
from crossray.generation.driver import generate
from crossray.generation.verify import verify

server = pytest.importorskip("moto.server", reason="needs pip install 's3fs' 'moto[server]'")
pytest.importorskip("s3fs", reason="needs pip install 's3fs' 'moto[server]'")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def bucket(monkeypatch):
    import boto3

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="bucket")
    yield "s3://bucket"
    running.stop()


def test_a_set_in_an_object_store(bucket, config, tmp_path):
    generate(config, tmp_path / "here", tmp_path / "cache", map)
    report = generate(config, f"{bucket}/set", tmp_path / "cache", map)
    assert report.made == report.shards
    assert generate(config, f"{bucket}/set", tmp_path / "cache", map).made == 0
    assert verify(f"{bucket}/set") == []
    there = Store(f"{bucket}/set")
    for file in (tmp_path / "here").rglob("*"):
        if file.is_file():
            assert there.read(file.relative_to(tmp_path / "here").as_posix()) == file.read_bytes()
    assert len(Shards(f"{bucket}/set", cache=tmp_path / "fetched")[3]["images"]) == 2
    late = there.written("shards/000000.tar", once=True)
    late.__enter__().write_bytes(b"another")
    with pytest.raises(FileExistsError):  # the store keeps the first, by a conditional write
        late.__exit__(None, None, None)
    assert verify(f"{bucket}/set") == []
