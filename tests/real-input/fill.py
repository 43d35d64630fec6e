"""Fills the two source buckets: dumps of a real database, and a tree of real files."""

from __future__ import annotations

import gzip
import mimetypes
import os
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import IO

from measure import Failure
from servers import MariaDb

MIB = 1024 * 1024
GIB = 1024 * MIB

#: Bytes of one attachment; mariadb-dump --hex-blob writes two characters for each.
ATTACHMENT = 64 * 1024

#: Parts of the large dump, as backup tools upload them.
LARGE_PART = 64 * MIB

#: Parts of the dump that no single part size explains.
UNEQUAL_PARTS = [5 * MIB, 7 * MIB + 1, 6 * MIB]

#: A tree that is smaller than this is no test of the request rate.
MIN_FILES = 20_000


@dataclass
class Filled:
    objects: int
    bytes: int

    def __add__(self, other: Filled) -> Filled:
        return Filled(self.objects + other.objects, self.bytes + other.bytes)


def make_database(database: MariaDb, dump_bytes: int) -> None:
    """Makes `app`, of which a dump with --hex-blob has at least `dump_bytes`."""
    database.sql(
        """
        CREATE DATABASE app CHARACTER SET utf8mb4;
        USE app;
        CREATE TABLE posts (id INT PRIMARY KEY, title VARCHAR(200) NOT NULL, body TEXT NOT NULL);
        CREATE TABLE attachments (id INT PRIMARY KEY, name VARCHAR(200) NOT NULL, body MEDIUMBLOB);
        CREATE VIEW titles AS SELECT id, UPPER(title) AS title FROM posts;
        CREATE PROCEDURE post_count() SELECT COUNT(*) FROM posts;
        INSERT INTO posts SELECT seq, CONCAT('été 😀🗄️ 日本 ', seq),
          REPEAT(CONCAT('line ', seq, ': “naïve” \\\\ 𝒳\\n'), 20) FROM seq_1_to_30000;
        """
    )
    rows = dump_bytes // (2 * ATTACHMENT) + 1
    random_kibibytes = ", ".join(["RANDOM_BYTES(1024)"] * (ATTACHMENT // 1024))
    # Few large statements are fast; one alone would keep an undo log of the whole table.
    step = 4096
    for first in range(1, rows + 1, step):
        last = min(first + step - 1, rows)
        database.sql(
            f"USE app; INSERT INTO attachments SELECT seq, CONCAT('scan 📎 ', seq, '.bin'), "
            f"CONCAT({random_kibibytes}) FROM seq_{first}_to_{last};"
        )


def chunks(stream: IO[bytes], sizes: Iterable[int]) -> Iterator[bytes]:
    """The stream cut into these sizes; the last one is what is left."""
    for size in sizes:
        chunk = stream.read(size)
        if not chunk:
            return
        yield chunk


def upload_parts(s3, bucket: str, key: str, parts: Iterator[bytes], **described: object) -> Filled:
    """Uploads parts as they come, a few at a time; memory holds no more of them."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **described)["UploadId"]
    where = {"Bucket": bucket, "Key": key, "UploadId": upload}
    size = 0

    def send(number: int, part: bytes) -> dict:
        answer = s3.upload_part(**where, PartNumber=number, Body=part)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    done: list[dict] = []
    with ThreadPoolExecutor(4) as pool:
        numbers = count(1)
        while batch := list(islice(parts, 4)):
            size += sum(map(len, batch))
            sent = [pool.submit(send, next(numbers), part) for part in batch]
            done.extend(future.result() for future in sent)
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    return Filled(1, size)


def fill_dumps(s3, bucket: str, database: MariaDb, dump_bytes: int) -> Filled:
    """Uploads dumps as vendors keep them: one large, one in unequal parts, one gzipped."""
    s3.create_bucket(Bucket=bucket)
    with database.dump("--hex-blob", "app") as stream:
        large = upload_parts(
            s3,
            bucket,
            "2026/11/20/app-full.sql",
            chunks(stream, (LARGE_PART for _ in count())),
            ContentType="application/sql",
            Metadata={"dumped-by": "mariadb-dump", "host": "db-1.internal"},
            Tagging="kind=full&retention=35%20days",
        )
    if large.bytes < dump_bytes:
        raise Failure(
            f"the large dump has {large.bytes} bytes, fewer than the {dump_bytes} asked for"
        )
    # Without --hex-blob: binary data as it is, and every character the text has.
    with database.dump("app", "posts", "titles") as stream:
        unequal = upload_parts(
            s3,
            bucket,
            "2026/11/20/app-posts.sql",
            chunks(stream, [*UNEQUAL_PARTS, GIB]),
            ContentType="application/sql",
            ContentLanguage="fr",
            CacheControl="no-store",
        )
    with database.dump("--no-data", "app") as stream:
        schema = stream.read()
    with database.dump("--where=id<=64", "app") as stream:
        sample = gzip.compress(stream.read())
    s3.put_object(Bucket=bucket, Key="2026/11/20/app-schema.sql", Body=schema)
    s3.put_object(
        Bucket=bucket,
        Key="2026/11/20/app-sample.sql.gz",
        Body=sample,
        ContentType="application/sql",
        ContentEncoding="gzip",
        ContentDisposition='attachment; filename="app sample.sql"',
        Metadata={"dumped-by": "mariadb-dump", "rows": "64"},
        Tagging="kind=sample&pii=no",
    )
    s3.put_object(
        Bucket=bucket,
        Key="2026/11/20/Sauvegarde complète (copie) + 100 %.sql",
        Body=schema,
        Metadata={"note": "by hand"},
    )
    return large + unequal + Filled(3, 2 * len(schema) + len(sample))


@dataclass
class File:
    path: Path
    key: str


def files_below(folder: Path, prefix: str) -> Iterator[File]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield File(path, f"{prefix}/{path.relative_to(folder).as_posix()}")


def real_files() -> Iterator[File]:
    """The sources of what this build downloads: the crates', then the Go modules' of MinIO."""
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    yield from files_below(cargo / "registry" / "src", "crates")
    done = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True)
    if modules := done.stdout.strip():
        yield from files_below(Path(modules), "modules")


def choose_files(wanted: int | None) -> list[File]:
    """The first `wanted` files; or all of the crates', and more up to MIN_FILES."""
    if wanted is not None:
        return list(islice(real_files(), wanted))
    chosen: list[File] = []
    for file in real_files():
        if len(chosen) >= MIN_FILES and not file.key.startswith("crates/"):
            break
        chosen.append(file)
    if len(chosen) < MIN_FILES:
        raise Failure(
            f"{len(chosen)} files were found, fewer than {MIN_FILES}: "
            "run tests/run once: its builds download them"
        )
    return chosen


def describe(number: int, file: File) -> dict[str, object]:
    """Headers as an application sets them: on many files a type, on some metadata and tags."""
    described: dict[str, object] = {}
    content_type, encoding = mimetypes.guess_type(file.path.name)
    if content_type and number % 2 == 0:
        described["ContentType"] = content_type
    if encoding:
        described["ContentEncoding"] = encoding
    if number % 10 == 0:
        described["Metadata"] = {"mode": f"{file.path.stat().st_mode:o}", "number": str(number)}
    if number % 25 == 0:
        described["CacheControl"] = "max-age=3600"
    if number % 50 == 0:
        described["Tagging"] = f"number={number}&kind=source"
    return described


def fill_files(s3, bucket: str, files: list[File]) -> Filled:
    s3.create_bucket(Bucket=bucket)

    def put(numbered: tuple[int, File]) -> int:
        number, file = numbered
        content = file.path.read_bytes()
        s3.put_object(Bucket=bucket, Key=file.key, Body=content, **describe(number, file))
        return len(content)

    with ThreadPoolExecutor(16) as pool:
        sizes = list(pool.map(put, enumerate(files)))
    return Filled(len(sizes), sum(sizes))
