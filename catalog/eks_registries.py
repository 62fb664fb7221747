"""The registries of Amazon EKS' own images: every region has one, in an account that is AWS's there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from catalog.regions import partition

_MAX_REGIONS = "602401143452"

EKS_REGISTRY_ACCOUNTS: Mapping[str, str] = MappingProxyType(
    {
        "af-south-1": "877085696533",
        "ap-east-1": "800184023465",
        "ap-east-2": "533267051163",
        **dict.fromkeys(("ap-northeast-1", "ap-northeast-2", "ap-northeast-3"), _MAX_REGIONS),
        **dict.fromkeys(("ap-south-1", "ap-southeast-1", "ap-southeast-2"), _MAX_REGIONS),
        "ap-south-2": "900889452093",
        "ap-southeast-3": "296578399912",
        "ap-southeast-4": "491585149902",
        "ap-southeast-5": "151610086707",
        "ap-southeast-6": "333609536671",
        "ap-southeast-7": "121268973566",
        "ca-central-1": _MAX_REGIONS,
        "ca-west-1": "761377655185",
        "cn-north-1": "918309763551",
        "cn-northwest-1": "961992271922",
        **dict.fromkeys(("eu-central-1", "eu-north-1"), _MAX_REGIONS),
        **dict.fromkeys(("eu-west-1", "eu-west-2", "eu-west-3"), _MAX_REGIONS),
        "eu-central-2": "900612956339",
        "eu-south-1": "590381155156",
        "eu-south-2": "455263428931",
        "eusc-de-east-1": "877088126301",
        "il-central-1": "066635153087",
        "me-central-1": "759879836304",
        "me-south-1": "558608220178",
        "mx-central-1": "730335286997",
        "sa-east-1": _MAX_REGIONS,
        **dict.fromkeys(("us-east-1", "us-east-2", "us-west-1", "us-west-2"), _MAX_REGIONS),
        "us-gov-east-1": "151742754352",
        "us-gov-west-1": "013241004608",
    }
)
"""The account by region. Source: EKS User Guide, "View Amazon container image registries for Amazon EKS add-ons", read
2026-11-27 (ap-southeast-5 is in its edition for China only; of ap-east-2 the guide prints another region's host
name beside the account)."""

_SUFFIXES = MappingProxyType({"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"})


def eks_registry(region: str) -> str | None:
    """Return the host name of the registry of EKS' images in a region; None where AWS's list has none."""
    account = EKS_REGISTRY_ACCOUNTS.get(region)
    if account is None:
        return None
    return f"{account}.dkr.ecr.{region}.{_SUFFIXES.get(partition(region), 'amazonaws.com')}"
