#!/usr/bin/env python3
"""Compares every object of a source bucket with its copy, through boto3: a client that the
replicator has nothing in common with.

Usage: compare.py --endpoint URL --pair SOURCE DESTINATION PREFIX [--pair …]

Each pair says that DESTINATION has each key of SOURCE below PREFIX, and there nothing else.
Credentials come from the environment, as for any boto3 program. Prints what was compared and
each difference; ends with 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

#: What HEAD tells of an object, and a copy has to have too.
PROPERTIES = [
    "ContentLength",
    "ETag",
    "ContentType",
    "ContentEncoding",
    "ContentLanguage",
    "ContentDisposition",
    "CacheControl",
    "ExpiresString",
    "WebsiteRedirectLocation",
    "StorageClass",
    "Metadata",
    "TagCount",
]

THREADS = 16


@dataclass
class Comparison:
    """What was compared, and what differed."""

    objects: int = 0
    bytes: int = 0
    properties: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        self.objects += other.objects
        self.bytes += other.bytes
        self.properties += other.properties
        self.differences += other.differences


def keys(s3, bucket: str, prefix: str) -> Iterator[str]:
    """The keys below `prefix`, without it. (boto3 decodes what it asks to be URL-encoded.)"""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"][len(prefix) :]


def tags(s3, bucket: str, key: str) -> dict[str, str]:
    tag_set = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in tag_set}


def compare_object(s3, source: str, destination: str, prefix: str, key: str) -> Comparison:
    mine = s3.head_object(Bucket=source, Key=key)
    copy = s3.head_object(Bucket=destination, Key=prefix + key)
    result = Comparison(objects=1, bytes=mine["ContentLength"])
    for name in PROPERTIES:
        wanted, found = mine.get(name), copy.get(name)
        if wanted not in (None, {}):
            result.properties[name] += 1
        if wanted != found:
            result.differences.append(
                f"{destination}/{prefix}{key}: {name} is {found!r}, not {wanted!r}"
            )
    if mine.get("TagCount") or copy.get("TagCount"):
        wanted, found = tags(s3, source, key), tags(s3, destination, prefix + key)
        result.properties["Tags"] += 1
        if wanted != found:
            result.differences.append(
                f"{destination}/{prefix}{key}: its tags are {found!r}, not {wanted!r}"
            )
    return result


def compare(s3, source: str, destination: str, prefix: str) -> Comparison:
    wanted, found = set(keys(s3, source, "")), set(keys(s3, destination, prefix))
    result = Comparison()
    result.differences += [
        f"{destination}/{prefix}{key}: missing" for key in sorted(wanted - found)
    ]
    result.differences += [
        f"{destination}/{prefix}{key}: not in {source}" for key in sorted(found - wanted)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        common = sorted(wanted & found)
        for one in pool.map(
            lambda key: compare_object(s3, source, destination, prefix, key), common
        ):
            result.add(one)
    return result


def print_comparison(title: str, result: Comparison) -> None:
    properties = ", ".join(
        f"{name} {number:,}" for name, number in sorted(result.properties.items())
    )
    print(f"{title}: {result.objects:,} objects, {result.bytes:,} bytes compared ({properties})")
    for difference in result.differences:
        print(f"  DIFFERS {difference}")
    print(f"  {len(result.differences)} differences", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--endpoint", metavar="URL", help="an S3-compatible server; AWS unless given"
    )
    parser.add_argument(
        "--pair",
        nargs=3,
        action="append",
        required=True,
        metavar=("SOURCE", "DESTINATION", "PREFIX"),
    )
    arguments = parser.parse_args()

    import boto3
    from botocore.config import Config

    style = {"addressing_style": "path"} if arguments.endpoint else {}
    config = Config(max_pool_connections=THREADS, s3=style)
    s3 = boto3.client("s3", endpoint_url=arguments.endpoint, config=config)
    differences = 0
    for source, destination, prefix in arguments.pair:
        result = compare(s3, source, destination, prefix)
        print_comparison(f"{source} -> {destination}/{prefix}", result)
        differences += len(result.differences)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
