"""What the protos promise in words is what the code does: callers, request ids, paging, nothing open-ended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from alliance.channel import FILES
from hub.runtime.access import TABLE, Rule
from hub.runtime.caller import CONSOLE, MEMBERS, Who
from tests.kit.rpc import all_methods

PROTOS = Path(__file__).resolve().parents[2] / "proto" / "alliance" / "v1"
OURS = {name: method for name, method in all_methods().items() if name.startswith("alliance.")}
READS = re.compile(r"(Get|List|Handshake|Watch|Verify|Download|Explain)")
# Trade secrets and personal data that may never have a field (docs/explanation, rule 2).
FORBIDDEN = re.compile(
    r"(^|_)(price|stock|inventory|quantity|sales|volume|revenue|margin|strategy|title|url|image|seller|description)(_|$)"
)


def comments() -> dict[str, str]:
    """`alliance.v1.KeyService/AddWraps` to the comment above the RPC."""
    found = {}
    for proto in sorted(PROTOS.glob("*.proto")):
        service, lines = "", []
        for line in proto.read_text().splitlines():
            if started := re.match(r"service (\w+)", line):
                service = started[1]
            if said := re.match(r"\s*//\s?(.*)", line):
                lines.append(said[1])
            elif rpc := re.match(r"\s*rpc (\w+)", line):
                found[f"alliance.v1.{service}/{rpc[1]}"] = "\n".join(lines)
                lines = []
            else:
                lines = []
    return found


def callers(comment: str) -> Rule:
    """The access rule that a `Caller:` line states in words."""
    [line] = re.findall(r"^Caller: (.+)\.$", comment, re.MULTILINE)
    who: set[Who] = set()
    for part in re.sub(r"\(.*?\)", "", line).split(";"):
        if "anyone" in part:
            who.add(Who.ANONYMOUS)
        elif "member" in part:
            who |= MEMBERS
        elif "any console role" in part:
            who |= CONSOLE
        else:
            who |= {Who(word.strip()) for word in part.split(",")}
    return Rule(who=frozenset(who), while_suspended="suspended" in line, while_unadmitted="unadmitted" in line)


def messages() -> list[Descriptor]:
    return [message for file in FILES for message in file.DESCRIPTOR.message_types_by_name.values()]


def test_the_protos_on_disk_are_those_in_use() -> None:
    assert comments().keys() == OURS.keys()


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_caller_line_and_the_access_table_say_the_same(name: str) -> None:
    said, rule = callers(comments()[name]), TABLE[name]
    assert said.who == rule.who
    assert (said.while_suspended, said.while_unadmitted) == (rule.while_suspended, rule.while_unadmitted)


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_unary_mutation_has_a_request_id_first(name: str) -> None:
    method: MethodDescriptor = OURS[name]
    if method.client_streaming:
        # An upload is idempotent by its digest and offset.
        assert method.name == "UploadBlob"
    elif READS.match(method.name):
        assert "request_id" not in method.input_type.fields_by_name
    else:
        assert method.input_type.fields_by_number[1].name == "request_id"


@pytest.mark.parametrize("name", sorted(name for name in OURS if "/List" in name))
def test_every_list_is_paged(name: str) -> None:
    method = OURS[name]
    assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name)
    assert "next_page_token" in method.output_type.fields_by_name


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_rpc_has_its_own_request_and_response(name: str) -> None:
    method = OURS[name]
    assert (method.input_type.name, method.output_type.name) == (f"{method.name}Request", f"{method.name}Response")


def test_no_field_is_open_ended() -> None:
    """No maps, no Any, no Struct: what may leave a member is a closed list. Field masks are the console's."""
    open_ended = []
    for message in messages():
        for field in message.fields:
            kind = field.message_type
            is_map = kind is not None and kind.GetOptions().map_entry
            foreign = kind is not None and kind.file.package not in ("alliance.v1", "google.protobuf")
            known = ("Timestamp", "FieldMask") if message.file.name == "alliance/v1/console.proto" else ("Timestamp",)
            well_known = kind is not None and kind.file.package == "google.protobuf" and kind.name not in known
            if is_map or foreign or well_known or field.type == FieldDescriptor.TYPE_GROUP:
                open_ended.append(f"{message.name}.{field.name}")
    assert open_ended == []


def test_no_field_names_what_never_leaves_a_member() -> None:
    fields = [f"{message.name}.{field.name}" for message in messages() for field in message.fields]
    assert len(fields) > 100
    assert [field for field in fields if FORBIDDEN.search(field.partition(".")[2])] == []


def test_every_enum_starts_with_unspecified() -> None:
    enums = [enum for file in FILES for enum in file.DESCRIPTOR.enum_types_by_name.values()]
    wanted = [re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_UNSPECIFIED" for enum in enums]
    assert [enum.values_by_number[0].name for enum in enums] == wanted
