from pocket_protocol.pb.cosmos.base.query import v1beta1_pb2 as _v1beta1_pb2
from pocket_protocol.pb.cosmos.base import v1beta1_pb2 as _v1beta1_pb2_1
from pocket_protocol.pb.pocket import shared_pb2 as _shared_pb2
from pocket_protocol.pb import relay_miner_pb2 as _relay_miner_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventGatewayStaked(_message.Message):
    __slots__ = ("gateway", "session_end_height")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    session_end_height: int
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ..., session_end_height: _Optional[int] = ...) -> None: ...

class EventGatewayUnbondingBegin(_message.Message):
    __slots__ = ("gateway", "session_end_height", "unbonding_end_height")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNBONDING_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    session_end_height: int
    unbonding_end_height: int
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ..., session_end_height: _Optional[int] = ..., unbonding_end_height: _Optional[int] = ...) -> None: ...

class EventGatewayUnbondingEnd(_message.Message):
    __slots__ = ("gateway", "session_end_height", "unbonding_end_height")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNBONDING_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    session_end_height: int
    unbonding_end_height: int
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ..., session_end_height: _Optional[int] = ..., unbonding_end_height: _Optional[int] = ...) -> None: ...

class EventGatewayUnbondingCanceled(_message.Message):
    __slots__ = ("gateway", "session_end_height")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    session_end_height: int
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ..., session_end_height: _Optional[int] = ...) -> None: ...

class EventGatewayMetadataUpdated(_message.Message):
    __slots__ = ("gateway_address", "session_end_height", "card_size_bytes")
    GATEWAY_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CARD_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    gateway_address: str
    session_end_height: int
    card_size_bytes: int
    def __init__(self, gateway_address: _Optional[str] = ..., session_end_height: _Optional[int] = ..., card_size_bytes: _Optional[int] = ...) -> None: ...

class GenesisState(_message.Message):
    __slots__ = ("params", "gateway_list")
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_LIST_FIELD_NUMBER: _ClassVar[int]
    params: Params
    gateway_list: _containers.RepeatedCompositeFieldContainer[Gateway]
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ..., gateway_list: _Optional[_Iterable[_Union[Gateway, _Mapping]]] = ...) -> None: ...

class Params(_message.Message):
    __slots__ = ("min_stake",)
    MIN_STAKE_FIELD_NUMBER: _ClassVar[int]
    min_stake: _v1beta1_pb2_1.Coin
    def __init__(self, min_stake: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ...) -> None: ...

class QueryParamsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryParamsResponse(_message.Message):
    __slots__ = ("params",)
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    params: Params
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ...) -> None: ...

class QueryGetGatewayRequest(_message.Message):
    __slots__ = ("address", "dehydrated")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DEHYDRATED_FIELD_NUMBER: _ClassVar[int]
    address: str
    dehydrated: bool
    def __init__(self, address: _Optional[str] = ..., dehydrated: _Optional[bool] = ...) -> None: ...

class QueryGetGatewayResponse(_message.Message):
    __slots__ = ("gateway",)
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    gateway: Gateway
    def __init__(self, gateway: _Optional[_Union[Gateway, _Mapping]] = ...) -> None: ...

class QueryAllGatewaysRequest(_message.Message):
    __slots__ = ("pagination", "dehydrated")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    DEHYDRATED_FIELD_NUMBER: _ClassVar[int]
    pagination: _v1beta1_pb2.PageRequest
    dehydrated: bool
    def __init__(self, pagination: _Optional[_Union[_v1beta1_pb2.PageRequest, _Mapping]] = ..., dehydrated: _Optional[bool] = ...) -> None: ...

class QueryAllGatewaysResponse(_message.Message):
    __slots__ = ("gateways", "pagination")
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    gateways: _containers.RepeatedCompositeFieldContainer[Gateway]
    pagination: _v1beta1_pb2.PageResponse
    def __init__(self, gateways: _Optional[_Iterable[_Union[Gateway, _Mapping]]] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageResponse, _Mapping]] = ...) -> None: ...

class MsgUpdateParams(_message.Message):
    __slots__ = ("authority", "params")
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    authority: str
    params: Params
    def __init__(self, authority: _Optional[str] = ..., params: _Optional[_Union[Params, _Mapping]] = ...) -> None: ...

class MsgUpdateParamsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgStakeGateway(_message.Message):
    __slots__ = ("address", "stake")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STAKE_FIELD_NUMBER: _ClassVar[int]
    address: str
    stake: _v1beta1_pb2_1.Coin
    def __init__(self, address: _Optional[str] = ..., stake: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ...) -> None: ...

class MsgStakeGatewayResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgUnstakeGateway(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class MsgUnstakeGatewayResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgUpdateParam(_message.Message):
    __slots__ = ("authority", "name", "as_coin")
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AS_COIN_FIELD_NUMBER: _ClassVar[int]
    authority: str
    name: str
    as_coin: _v1beta1_pb2_1.Coin
    def __init__(self, authority: _Optional[str] = ..., name: _Optional[str] = ..., as_coin: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ...) -> None: ...

class MsgUpdateParamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgUpdateGatewayMetadata(_message.Message):
    __slots__ = ("address", "metadata")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    address: str
    metadata: _shared_pb2.Metadata
    def __init__(self, address: _Optional[str] = ..., metadata: _Optional[_Union[_shared_pb2.Metadata, _Mapping]] = ...) -> None: ...

class MsgUpdateGatewayMetadataResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Gateway(_message.Message):
    __slots__ = ("address", "stake", "unstake_session_end_height", "metadata")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STAKE_FIELD_NUMBER: _ClassVar[int]
    UNSTAKE_SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    address: str
    stake: _v1beta1_pb2_1.Coin
    unstake_session_end_height: int
    metadata: _shared_pb2.Metadata
    def __init__(self, address: _Optional[str] = ..., stake: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., unstake_session_end_height: _Optional[int] = ..., metadata: _Optional[_Union[_shared_pb2.Metadata, _Mapping]] = ...) -> None: ...

class GatewayLifecycle(_message.Message):
    __slots__ = ("address", "stake", "unstake_session_end_height")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STAKE_FIELD_NUMBER: _ClassVar[int]
    UNSTAKE_SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    address: str
    stake: _v1beta1_pb2_1.Coin
    unstake_session_end_height: int
    def __init__(self, address: _Optional[str] = ..., stake: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., unstake_session_end_height: _Optional[int] = ...) -> None: ...
