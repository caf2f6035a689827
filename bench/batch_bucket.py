"""Two processes on one bucket of a real S3 server, Moto's on this machine, by s3fs: shared, noted, known again.

python bench/batch_bucket.py [PHOTOS]

Needs `pip install 'sdsr[bucket]' moto flask flask-cors`. Names have signs that patterns are made of. Leaves
with 1 where a photo is done twice or not at all, a lease is left, or a second run restores anything.
"""

import io
import json
import logging
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
from PIL import Image

PORT = 5057
OWN = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_DEFAULT_REGION": "us-east-1",
}
COMMAND = [sys.executable, "-m", "sdsr", "upscale", "s3://bucket/in", "-o", "s3://bucket/out", "--scale", "2", "--json"]


def main() -> None:
    """Serve a bucket, restore it by two processes and once more, and tell what became of it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ |= OWN
    server = import_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=PORT)
    server.start()
    try:
        client = import_module("boto3").client("s3")
        client.create_bucket(Bucket="bucket")
        total = int(sys.argv[1]) if len(sys.argv) > 1 else 6
        for number in range(total):
            pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            client.put_object(Bucket="bucket", Key=f"in/sub {number % 2}/[{number}]#?*.png", Body=file.getvalue())
        both = [subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        shares = [done_in(process.communicate()[0]) for process in both]
        again = done_in(subprocess.run(COMMAND, stdout=subprocess.PIPE, text=True, check=False).stdout)
        keys = [each["Key"] for each in client.list_objects_v2(Bucket="bucket", Prefix="out/")["Contents"]]
    finally:
        server.stop()
    results = sum(key.endswith(".png") for key in keys)
    leases = sum(".sdsr-claims/" in key for key in keys)
    print(
        f"{total} photos: {shares[0]} + {shares[1]} done, {results} results, {leases} leases left, {again} done again"
    )
    if (sum(shares), results, leases, again) != (total, total, 0, 0):
        sys.exit("not as it must be")


def done_in(said: str) -> int:
    return sum(json.loads(line)["status"] == "done" for line in said.splitlines())


if __name__ == "__main__":
    main()
