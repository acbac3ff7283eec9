"""The contract is closed: a request with a field that this hub does not know is refused, wherever it stands.

Dropped in silence it would be half obeyed, kept it could carry anything past the egress list to be stored or
relayed. A newer client learns from the handshake which version it talks to, and so what it may send
(docs/adr/0018-unknown-fields.md).
"""

from __future__ import annotations

import functools

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from alliance.errors import InvalidInput
from alliance.release import VERSION


def require_known(message: Message, path: str = "") -> None:
    """Raises: InvalidInput, UNKNOWN_FIELD, naming where and by which numbers."""
    unknown = UnknownFieldSet(message)
    if len(unknown):
        numbers = ", ".join(sorted({str(field.field_number) for field in unknown})[:10])
        raise InvalidInput(
            f"{path or message.DESCRIPTOR.name} has fields that this hub of version {VERSION} does not know: {numbers}",
            reason="UNKNOWN_FIELD",
            field=path,
            remedy="send what the hub's version knows, or ask its operator to upgrade",
        )
    for field, repeated in _nested(message.DESCRIPTOR):
        where = f"{path}.{field}".lstrip(".")
        if repeated:
            for one in getattr(message, field):
                require_known(one, where)
        elif message.HasField(field):
            require_known(getattr(message, field), where)


@functools.cache
def _nested(descriptor: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields that hold messages, and whether many: nothing else is looked at, so that no chunk is copied."""
    return tuple(
        (field.name, field.is_repeated) for field in descriptor.fields if field.type == FieldDescriptor.TYPE_MESSAGE
    )
