from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FileSummary(_message.Message):
    __slots__ = ("ondiskVersion", "layoutVersion", "codec", "sections")
    class Section(_message.Message):
        __slots__ = ("name", "length", "offset")
        NAME_FIELD_NUMBER: _ClassVar[int]
        LENGTH_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        name: str
        length: int
        offset: int
        def __init__(self, name: _Optional[str] = ..., length: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...
    ONDISKVERSION_FIELD_NUMBER: _ClassVar[int]
    LAYOUTVERSION_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    ondiskVersion: int
    layoutVersion: int
    codec: str
    sections: _containers.RepeatedCompositeFieldContainer[FileSummary.Section]
    def __init__(self, ondiskVersion: _Optional[int] = ..., layoutVersion: _Optional[int] = ..., codec: _Optional[str] = ..., sections: _Optional[_Iterable[_Union[FileSummary.Section, _Mapping]]] = ...) -> None: ...

class NameSystemSection(_message.Message):
    __slots__ = ("namespaceId", "transactionId")
    NAMESPACEID_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONID_FIELD_NUMBER: _ClassVar[int]
    namespaceId: int
    transactionId: int
    def __init__(self, namespaceId: _Optional[int] = ..., transactionId: _Optional[int] = ...) -> None: ...

class INodeSection(_message.Message):
    __slots__ = ("lastInodeId", "numInodes")
    LASTINODEID_FIELD_NUMBER: _ClassVar[int]
    NUMINODES_FIELD_NUMBER: _ClassVar[int]
    lastInodeId: int
    numInodes: int
    def __init__(self, lastInodeId: _Optional[int] = ..., numInodes: _Optional[int] = ...) -> None: ...
