from pocket_protocol.pb.cosmos.base.query import v1beta1_pb2 as _v1beta1_pb2
from pocket_protocol.pb.cosmos.base import v1beta1_pb2 as _v1beta1_pb2_1
from pocket_protocol.pb.pocket import session_pb2 as _session_pb2
from pocket_protocol.pb.pocket import shared_pb2 as _shared_pb2
from pocket_protocol.pb import relay_miner_pb2 as _relay_miner_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServiceComputeUnitsPerRelayUpdate(_message.Message):
    __slots__ = ("effective_height", "service_id", "compute_units_per_relay")
    EFFECTIVE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_UNITS_PER_RELAY_FIELD_NUMBER: _ClassVar[int]
    effective_height: int
    service_id: str
    compute_units_per_relay: int
    def __init__(self, effective_height: _Optional[int] = ..., service_id: _Optional[str] = ..., compute_units_per_relay: _Optional[int] = ...) -> None: ...

class EventRelayMiningDifficultyUpdated(_message.Message):
    __slots__ = ("service_id", "prev_target_hash_hex_encoded", "new_target_hash_hex_encoded", "prev_num_relays_ema", "new_num_relays_ema")
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PREV_TARGET_HASH_HEX_ENCODED_FIELD_NUMBER: _ClassVar[int]
    NEW_TARGET_HASH_HEX_ENCODED_FIELD_NUMBER: _ClassVar[int]
    PREV_NUM_RELAYS_EMA_FIELD_NUMBER: _ClassVar[int]
    NEW_NUM_RELAYS_EMA_FIELD_NUMBER: _ClassVar[int]
    service_id: str
    prev_target_hash_hex_encoded: str
    new_target_hash_hex_encoded: str
    prev_num_relays_ema: int
    new_num_relays_ema: int
    def __init__(self, service_id: _Optional[str] = ..., prev_target_hash_hex_encoded: _Optional[str] = ..., new_target_hash_hex_encoded: _Optional[str] = ..., prev_num_relays_ema: _Optional[int] = ..., new_num_relays_ema: _Optional[int] = ...) -> None: ...

class GenesisState(_message.Message):
    __slots__ = ("params", "service_list", "relayMiningDifficultyList", "compute_units_per_relay_history")
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_LIST_FIELD_NUMBER: _ClassVar[int]
    RELAYMININGDIFFICULTYLIST_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_UNITS_PER_RELAY_HISTORY_FIELD_NUMBER: _ClassVar[int]
    params: Params
    service_list: _containers.RepeatedCompositeFieldContainer[_shared_pb2.Service]
    relayMiningDifficultyList: _containers.RepeatedCompositeFieldContainer[RelayMiningDifficulty]
    compute_units_per_relay_history: _containers.RepeatedCompositeFieldContainer[ServiceComputeUnitsPerRelayUpdate]
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ..., service_list: _Optional[_Iterable[_Union[_shared_pb2.Service, _Mapping]]] = ..., relayMiningDifficultyList: _Optional[_Iterable[_Union[RelayMiningDifficulty, _Mapping]]] = ..., compute_units_per_relay_history: _Optional[_Iterable[_Union[ServiceComputeUnitsPerRelayUpdate, _Mapping]]] = ...) -> None: ...

class Params(_message.Message):
    __slots__ = ("add_service_fee", "target_num_relays")
    ADD_SERVICE_FEE_FIELD_NUMBER: _ClassVar[int]
    TARGET_NUM_RELAYS_FIELD_NUMBER: _ClassVar[int]
    add_service_fee: _v1beta1_pb2_1.Coin
    target_num_relays: int
    def __init__(self, add_service_fee: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., target_num_relays: _Optional[int] = ...) -> None: ...

class QueryParamsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryParamsResponse(_message.Message):
    __slots__ = ("params",)
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    params: Params
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ...) -> None: ...

class QueryGetServiceRequest(_message.Message):
    __slots__ = ("id", "dehydrated")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEHYDRATED_FIELD_NUMBER: _ClassVar[int]
    id: str
    dehydrated: bool
    def __init__(self, id: _Optional[str] = ..., dehydrated: _Optional[bool] = ...) -> None: ...

class QueryGetServiceResponse(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: _shared_pb2.Service
    def __init__(self, service: _Optional[_Union[_shared_pb2.Service, _Mapping]] = ...) -> None: ...

class QueryAllServicesRequest(_message.Message):
    __slots__ = ("pagination", "dehydrated")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    DEHYDRATED_FIELD_NUMBER: _ClassVar[int]
    pagination: _v1beta1_pb2.PageRequest
    dehydrated: bool
    def __init__(self, pagination: _Optional[_Union[_v1beta1_pb2.PageRequest, _Mapping]] = ..., dehydrated: _Optional[bool] = ...) -> None: ...

class QueryAllServicesResponse(_message.Message):
    __slots__ = ("service", "pagination")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    service: _containers.RepeatedCompositeFieldContainer[_shared_pb2.Service]
    pagination: _v1beta1_pb2.PageResponse
    def __init__(self, service: _Optional[_Iterable[_Union[_shared_pb2.Service, _Mapping]]] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageResponse, _Mapping]] = ...) -> None: ...

class QueryGetRelayMiningDifficultyRequest(_message.Message):
    __slots__ = ("serviceId",)
    SERVICEID_FIELD_NUMBER: _ClassVar[int]
    serviceId: str
    def __init__(self, serviceId: _Optional[str] = ...) -> None: ...

class QueryGetRelayMiningDifficultyResponse(_message.Message):
    __slots__ = ("relayMiningDifficulty",)
    RELAYMININGDIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    relayMiningDifficulty: RelayMiningDifficulty
    def __init__(self, relayMiningDifficulty: _Optional[_Union[RelayMiningDifficulty, _Mapping]] = ...) -> None: ...

class QueryAllRelayMiningDifficultyRequest(_message.Message):
    __slots__ = ("pagination",)
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    pagination: _v1beta1_pb2.PageRequest
    def __init__(self, pagination: _Optional[_Union[_v1beta1_pb2.PageRequest, _Mapping]] = ...) -> None: ...

class QueryAllRelayMiningDifficultyResponse(_message.Message):
    __slots__ = ("relayMiningDifficulty", "pagination")
    RELAYMININGDIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    relayMiningDifficulty: _containers.RepeatedCompositeFieldContainer[RelayMiningDifficulty]
    pagination: _v1beta1_pb2.PageResponse
    def __init__(self, relayMiningDifficulty: _Optional[_Iterable[_Union[RelayMiningDifficulty, _Mapping]]] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageResponse, _Mapping]] = ...) -> None: ...

class QueryGetRelayMiningDifficultyAtHeightRequest(_message.Message):
    __slots__ = ("serviceId", "blockHeight")
    SERVICEID_FIELD_NUMBER: _ClassVar[int]
    BLOCKHEIGHT_FIELD_NUMBER: _ClassVar[int]
    serviceId: str
    blockHeight: int
    def __init__(self, serviceId: _Optional[str] = ..., blockHeight: _Optional[int] = ...) -> None: ...

class QueryGetRelayMiningDifficultyAtHeightResponse(_message.Message):
    __slots__ = ("relayMiningDifficulty",)
    RELAYMININGDIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    relayMiningDifficulty: RelayMiningDifficulty
    def __init__(self, relayMiningDifficulty: _Optional[_Union[RelayMiningDifficulty, _Mapping]] = ...) -> None: ...

class QueryRelayMiningDifficultyHistoryRequest(_message.Message):
    __slots__ = ("serviceId", "pagination")
    SERVICEID_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    serviceId: str
    pagination: _v1beta1_pb2.PageRequest
    def __init__(self, serviceId: _Optional[str] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageRequest, _Mapping]] = ...) -> None: ...

class QueryRelayMiningDifficultyHistoryResponse(_message.Message):
    __slots__ = ("relayMiningDifficultyHistory", "pagination")
    RELAYMININGDIFFICULTYHISTORY_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    relayMiningDifficultyHistory: _containers.RepeatedCompositeFieldContainer[RelayMiningDifficultyUpdate]
    pagination: _v1beta1_pb2.PageResponse
    def __init__(self, relayMiningDifficultyHistory: _Optional[_Iterable[_Union[RelayMiningDifficultyUpdate, _Mapping]]] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageResponse, _Mapping]] = ...) -> None: ...

class QueryComputeUnitsPerRelayAtHeightRequest(_message.Message):
    __slots__ = ("serviceId", "blockHeight")
    SERVICEID_FIELD_NUMBER: _ClassVar[int]
    BLOCKHEIGHT_FIELD_NUMBER: _ClassVar[int]
    serviceId: str
    blockHeight: int
    def __init__(self, serviceId: _Optional[str] = ..., blockHeight: _Optional[int] = ...) -> None: ...

class QueryComputeUnitsPerRelayAtHeightResponse(_message.Message):
    __slots__ = ("computeUnitsPerRelay",)
    COMPUTEUNITSPERRELAY_FIELD_NUMBER: _ClassVar[int]
    computeUnitsPerRelay: int
    def __init__(self, computeUnitsPerRelay: _Optional[int] = ...) -> None: ...

class QueryComputeUnitsPerRelayHistoryRequest(_message.Message):
    __slots__ = ("serviceId", "pagination")
    SERVICEID_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    serviceId: str
    pagination: _v1beta1_pb2.PageRequest
    def __init__(self, serviceId: _Optional[str] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageRequest, _Mapping]] = ...) -> None: ...

class QueryComputeUnitsPerRelayHistoryResponse(_message.Message):
    __slots__ = ("computeUnitsPerRelayHistory", "pagination")
    COMPUTEUNITSPERRELAYHISTORY_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    computeUnitsPerRelayHistory: _containers.RepeatedCompositeFieldContainer[ServiceComputeUnitsPerRelayUpdate]
    pagination: _v1beta1_pb2.PageResponse
    def __init__(self, computeUnitsPerRelayHistory: _Optional[_Iterable[_Union[ServiceComputeUnitsPerRelayUpdate, _Mapping]]] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageResponse, _Mapping]] = ...) -> None: ...

class Relay(_message.Message):
    __slots__ = ("req", "res")
    REQ_FIELD_NUMBER: _ClassVar[int]
    RES_FIELD_NUMBER: _ClassVar[int]
    req: RelayRequest
    res: RelayResponse
    def __init__(self, req: _Optional[_Union[RelayRequest, _Mapping]] = ..., res: _Optional[_Union[RelayResponse, _Mapping]] = ...) -> None: ...

class RelayRequestMetadata(_message.Message):
    __slots__ = ("session_header", "signature", "supplier_operator_address")
    SESSION_HEADER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SUPPLIER_OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    session_header: _session_pb2.SessionHeader
    signature: bytes
    supplier_operator_address: str
    def __init__(self, session_header: _Optional[_Union[_session_pb2.SessionHeader, _Mapping]] = ..., signature: _Optional[bytes] = ..., supplier_operator_address: _Optional[str] = ...) -> None: ...

class RelayRequest(_message.Message):
    __slots__ = ("meta", "payload")
    META_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    meta: RelayRequestMetadata
    payload: bytes
    def __init__(self, meta: _Optional[_Union[RelayRequestMetadata, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class RelayResponse(_message.Message):
    __slots__ = ("meta", "payload", "relay_miner_error", "payload_hash")
    META_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    RELAY_MINER_ERROR_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_HASH_FIELD_NUMBER: _ClassVar[int]
    meta: RelayResponseMetadata
    payload: bytes
    relay_miner_error: RelayMinerError
    payload_hash: bytes
    def __init__(self, meta: _Optional[_Union[RelayResponseMetadata, _Mapping]] = ..., payload: _Optional[bytes] = ..., relay_miner_error: _Optional[_Union[RelayMinerError, _Mapping]] = ..., payload_hash: _Optional[bytes] = ...) -> None: ...

class RelayResponseMetadata(_message.Message):
    __slots__ = ("session_header", "supplier_operator_signature")
    SESSION_HEADER_FIELD_NUMBER: _ClassVar[int]
    SUPPLIER_OPERATOR_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    session_header: _session_pb2.SessionHeader
    supplier_operator_signature: bytes
    def __init__(self, session_header: _Optional[_Union[_session_pb2.SessionHeader, _Mapping]] = ..., supplier_operator_signature: _Optional[bytes] = ...) -> None: ...

class RelayMinerError(_message.Message):
    __slots__ = ("codespace", "code", "description", "message")
    CODESPACE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    codespace: str
    code: int
    description: str
    message: str
    def __init__(self, codespace: _Optional[str] = ..., code: _Optional[int] = ..., description: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class RelayMiningDifficulty(_message.Message):
    __slots__ = ("service_id", "block_height", "num_relays_ema", "target_hash")
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCK_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    NUM_RELAYS_EMA_FIELD_NUMBER: _ClassVar[int]
    TARGET_HASH_FIELD_NUMBER: _ClassVar[int]
    service_id: str
    block_height: int
    num_relays_ema: int
    target_hash: bytes
    def __init__(self, service_id: _Optional[str] = ..., block_height: _Optional[int] = ..., num_relays_ema: _Optional[int] = ..., target_hash: _Optional[bytes] = ...) -> None: ...

class RelayMiningDifficultyUpdate(_message.Message):
    __slots__ = ("effective_height", "difficulty")
    EFFECTIVE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    effective_height: int
    difficulty: RelayMiningDifficulty
    def __init__(self, effective_height: _Optional[int] = ..., difficulty: _Optional[_Union[RelayMiningDifficulty, _Mapping]] = ...) -> None: ...

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

class MsgUpdateParam(_message.Message):
    __slots__ = ("authority", "name", "as_coin", "as_uint64")
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AS_COIN_FIELD_NUMBER: _ClassVar[int]
    AS_UINT64_FIELD_NUMBER: _ClassVar[int]
    authority: str
    name: str
    as_coin: _v1beta1_pb2_1.Coin
    as_uint64: int
    def __init__(self, authority: _Optional[str] = ..., name: _Optional[str] = ..., as_coin: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., as_uint64: _Optional[int] = ...) -> None: ...

class MsgUpdateParamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgAddService(_message.Message):
    __slots__ = ("owner_address", "service")
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    owner_address: str
    service: _shared_pb2.Service
    def __init__(self, owner_address: _Optional[str] = ..., service: _Optional[_Union[_shared_pb2.Service, _Mapping]] = ...) -> None: ...

class MsgAddServiceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgTransferService(_message.Message):
    __slots__ = ("owner_address", "service_id", "new_owner_address")
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    owner_address: str
    service_id: str
    new_owner_address: str
    def __init__(self, owner_address: _Optional[str] = ..., service_id: _Optional[str] = ..., new_owner_address: _Optional[str] = ...) -> None: ...

class MsgTransferServiceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
