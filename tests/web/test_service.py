"""The HTTP API of a service as it is run."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image as pillow

from tests.served import SAMPLE, SLOW, Served, problem, wait


@pytest.fixture(scope="module")
def done(service: Served) -> dict:
    """A finished job, x2."""
    job = service.submit(name="../../etc/My beach.jpg", scale="2", seed="7")
    ended = service.ended(job["id"])
    assert ended["state"] == "done", ended["problem"]
    return ended


@pytest.fixture
def browser(service: Served) -> Iterator[httpx.Client]:
    """A client with cookies of its own."""
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def events(service: Served, path: str) -> list[tuple[str, dict]]:
    """All that is told, until the stream ends."""
    told = []
    with service.client.stream("GET", path, timeout=120) as stream:
        name = ""
        for line in stream.iter_lines():
            kind, _, text = line.partition(": ")
            if kind == "event":
                name = text
            elif kind == "data":
                told.append((name, json.loads(text)))
    return told


def test_the_result_is_the_file_that_the_command_makes(service: Served, done: dict, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sdsr", "upscale", str(SAMPLE), "-o", str(tmp_path / "cli.jpg")]
    options = ["--scale", "2", "--seed", "7", "--device", "cpu", "--quiet"]
    subprocess.run([*command, *options], check=True, env=service.environment)
    answer = service.client.get(done["result"]["url"])
    assert answer.content == (tmp_path / "cli.jpg").read_bytes()
    assert answer.headers["content-type"] == "image/jpeg"
    assert "filename*=UTF-8''My%20beach_restored.jpg" in answer.headers["content-disposition"]
    assert b"AISystemUsed" in answer.content


def test_what_is_told_of_a_result(done: dict) -> None:
    result = done["result"]
    assert done["photo"]["name"] == "My beach.jpg"
    assert (done["width"], done["height"]) == (result["width"], result["height"]) == (256, 256)
    assert (result["model"], result["seed"], result["steps"], result["format"]) == ("d3sr-small", 7, 1, "JPEG")
    assert result["consistency_db"] > 20


def test_pictures_show_the_result_and_its_photo(service: Served, done: dict) -> None:
    def picture(url: str) -> np.ndarray:
        answer = service.client.get(url)
        assert answer.status_code == 200, answer.text
        assert "immutable" in answer.headers["cache-control"]
        return np.asarray(pillow.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)

    result = done["result"]
    whole = picture(result["url"])
    tile = picture(result["tiles_url"] + "/0/0/0")
    assert np.abs(tile - whole).max() < 60  # the file is JPEG
    assert np.abs(tile - whole).mean() < 2
    assert np.abs(picture(result["proxy_url"]) - whole).mean() < 4
    before = picture(result["before_url"])
    assert np.abs(picture(result["tiles_url"] + "/0/0/0?of=photo") - before).mean() < 4
    expected = np.asarray(pillow.open(SAMPLE).resize((256, 256), pillow.Resampling.BICUBIC)).astype(int)
    assert np.abs(before - expected).mean() < 4
    assert picture(result["tiles_url"] + "/1/0/0").shape == (128, 128, 3)
    assert picture(result["map_url"]).shape == (128, 128, 3)


def test_a_crop_shows_what_the_whole_shows_there(service: Served, done: dict) -> None:
    photo = done["photo"]["id"]
    wishes = {"photo_id": photo, "scale": "2", "seed": "7", "format": "png"}
    crop = service.client.post("/v1/jobs", data={**wishes, "region": "40,60,100,80"}).json()
    whole = service.client.post("/v1/jobs", data=wishes).json()
    pixels = {}
    for name, job in (("crop", crop), ("whole", whole)):
        ended = service.ended(job["id"])
        assert ended["state"] == "done", ended["problem"]
        data = service.client.get(ended["result"]["url"]).content
        pixels[name] = np.asarray(pillow.open(io.BytesIO(data))).astype(int)
    assert np.abs(pixels["crop"] - pixels["whole"][60:140, 40:140]).max() <= 1
    assert crop["kind"] == "crop"


def test_a_job_tells_what_happens(service: Served) -> None:
    job = service.submit(model="addsr-small", steps="3", scale="1")
    told = events(service, f"/v1/jobs/{job['id']}/events")
    names = [name for name, _ in told]
    assert names[0] == "job"
    assert names[-1] == "done"
    assert names.count("step") >= 1
    shares = [data["share"] for name, data in told if name == "window"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    final = [data for name, data in told if name == "preview" and data["final"]]
    assert final[-1]["region"] == [0, 0, 128, 128]
    assert service.client.get(final[-1]["url"]).headers["content-type"] == "image/webp"
    assert told[-1][1]["result"]["steps"] == 3
    again = events(service, f"/v1/jobs/{job['id']}/events")  # of one that has ended
    assert [name for name, _ in again] == ["job", "done"]


def test_one_stream_tells_of_all_jobs_of_a_client(service: Served, browser: httpx.Client) -> None:
    assert "HttpOnly" in browser.get("/").headers["set-cookie"]
    told: list[str] = []
    with browser.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: jobs"
        ids = [
            browser.post("/v1/jobs", files={"photo": ("a.jpg", SAMPLE.read_bytes())}, data={"scale": "1"}).json()["id"]
            for _ in range(2)
        ]
        other = service.submit(scale="1")["id"]
        done = 0
        for line in lines:
            told.append(line)
            done += line == "event: done"
            if done == 2:
                break
    text = "\n".join(told)
    assert all(id in text for id in ids)
    assert other not in text
    assert {job["id"] for job in browser.get("/v1/jobs").json()["jobs"]} == set(ids)
    service.ended(other)


@pytest.mark.service
def test_cancel_frees_the_worker_within_a_step(service: Served) -> None:
    job = service.submit(**SLOW)
    service.under_way(job["id"])
    step = service.job(job["id"])["step"]
    assert service.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert service.job(job["id"])["state"] == "canceled"
    after = service.ended(service.submit(scale="1")["id"])
    assert after["state"] == "done"
    assert step < 500  # of 600: the next job did not wait for its end
    assert not (service.folder / "jobs" / job["id"]).exists()


def test_a_waiting_job_is_canceled_and_an_ended_one_deleted(service: Served) -> None:
    slow = service.submit(**SLOW)["id"]
    waiting = service.submit(scale="1")
    assert waiting["state"] == "queued"
    service.client.delete(f"/v1/jobs/{waiting['id']}")
    assert service.job(waiting["id"])["state"] == "canceled"
    service.client.delete(f"/v1/jobs/{slow}")
    service.ended(slow)
    assert service.client.delete(f"/v1/jobs/{waiting['id']}").status_code == 204
    assert problem(service.client.get(f"/v1/jobs/{waiting['id']}"))["status"] == 404
    photo = waiting["photo"]["id"]
    assert service.client.delete(f"/v1/photos/{photo}").status_code == 204
    assert not (service.folder / "photos" / photo).exists()


def test_all_results_come_as_a_zip(service: Served, done: dict) -> None:
    answer = service.client.get("/v1/results.zip", params={"job": [done["id"], done["id"]]})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.namelist() == ["My beach_restored.jpg", "My beach_restored (2).jpg"]
    assert archive.read(archive.namelist()[1]) == service.client.get(done["result"]["url"]).content


@pytest.mark.parametrize(
    ("wishes", "status", "says"),
    [
        ({"scale": "nan"}, 422, "finite"),
        ({"scale": "17"}, 422, "less than or equal to 16"),
        ({"scale": "2", "width": "100"}, 422, "target (=scale and width) must be one"),
        ({"width": "100", "height": "300"}, 422, "must keep the proportions"),
        ({"megapixels": "30"}, 422, "must be above 0 and at most 16"),
        ({"model": "../../etc"}, 422, "must be one of"),
        ({"steps": "4"}, 422, "steps (=4) of d3sr-small must be 1"),
        ({"prompt": "hello"}, 422, "means nothing to d3sr-small"),
        ({"model": "consissr-small", "prompt": "hello"}, 422, "must be one of"),
        ({"model": "invsr-small", "steps": "9"}, 422, "must be 1 ... 5"),
        ({"region": "500,0,50,50"}, 422, "must lie within the result (512 x 512 px)"),
        ({"region": "-1,0,5,5"}, 422, "pattern"),
        ({"path": "/etc/passwd"}, 422, "not permitted"),
        ({"url": "http://127.0.0.1/"}, 422, "not permitted"),
        ({"photo_id": "x"}, 422, "both of them"),
        ({"quality": "101"}, 422, "less than or equal to 100"),
        ({"protect": ["1,1,5,5", "100,0,50,5"]}, 422, "protect (=100,0,50,5) must be LEFT,TOP,WIDTH,HEIGHT within"),
        ({"protect": "faces"}, 422, "pattern"),
        ({"protect": ["0,0,1,1"] * 17}, 422, "at most 16"),
        ({"consistent": "true", "scale": "0.5"}, 422, "must be at least as large as its photo"),
        ({"mean_of": "9"}, 422, "less than or equal to 8"),
    ],
)
def test_what_can_not_be_done_is_refused_in_words(service: Served, wishes: dict, status: int, says: str) -> None:
    answer = service.client.post("/v1/jobs", files={"photo": ("a.jpg", SAMPLE.read_bytes())}, data=wishes)
    assert problem(answer)["status"] == status
    assert says in answer.json()["detail"]


def test_nothing_is_kept_of_what_is_refused(service: Served) -> None:
    before = set((service.folder / "photos").iterdir())
    service.client.post("/v1/jobs", files={"photo": ("a.jpg", SAMPLE.read_bytes())}, data={"steps": "4"})
    service.client.post("/v1/photos", files={"photo": ("a.jpg", b"no photo")})
    assert set((service.folder / "photos").iterdir()) == before


def test_an_unknown_thing_is_a_problem_too(service: Served, done: dict) -> None:
    for path in ("/v1/jobs/x", "/v1/jobs/x/events", "/v1/photos/x", "/nothing", "/metrics", "/v1/jobs/x/result"):
        assert problem(service.client.get(path))["status"] == 404
    assert problem(service.client.put("/v1/jobs"))["status"] == 405
    assert problem(service.client.get(done["result"]["tiles_url"] + "/0/9/9"))["status"] == 422
    assert problem(service.client.get(done["result"]["tiles_url"] + "/99999999999/0/0"))["status"] == 422


def test_models_say_what_can_be_wished(service: Served) -> None:
    answer = service.client.get("/v1/models").json()
    models = {model["name"]: model for model in answer["models"]}
    assert answer["models"][0]["name"] == "d3sr-small"
    assert models["d3sr-small"]["fidelity"] == 0
    assert models["d3sr-small"]["choice_of_steps"] is False
    assert models["invsr-small"]["most_steps"] == 5
    assert models["consissr-small"]["prompts"] == ["", "clean", "degraded"]
    assert not models["d3sr-small"]["prompts"]


@pytest.mark.service
def test_the_queue_has_an_end(serve: Callable[..., Served]) -> None:
    served = serve("--queue-per-client", "2").ready()
    photo = served.submit(**SLOW)["photo"]["id"]
    served.submit(**SLOW)
    answer = served.client.post("/v1/jobs", data={"photo_id": photo})
    assert problem(answer)["status"] == 429
    assert int(answer.headers["retry-after"]) > 0
    for job in served.client.get("/v1/jobs").json()["jobs"]:
        served.client.delete(f"/v1/jobs/{job['id']}")
    wait(lambda: served.client.post("/v1/jobs", data={"photo_id": photo, "scale": "1"}).status_code == 202)
