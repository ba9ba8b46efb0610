from pocket_protocol.pb.cosmos.base.query import v1beta1_pb2 as _v1beta1_pb2
from pocket_protocol.pb.cosmos.base import v1beta1_pb2 as _v1beta1_pb2_1
from pocket_protocol.pb.pocket import shared_pb2 as _shared_pb2
from pocket_protocol.pb import relay_miner_pb2 as _relay_miner_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SupplierUnbondingReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUPPLIER_UNBONDING_REASON_UNSPECIFIED: _ClassVar[SupplierUnbondingReason]
    SUPPLIER_UNBONDING_REASON_VOLUNTARY: _ClassVar[SupplierUnbondingReason]
    SUPPLIER_UNBONDING_REASON_BELOW_MIN_STAKE: _ClassVar[SupplierUnbondingReason]
    SUPPLIER_UNBONDING_REASON_MIGRATION: _ClassVar[SupplierUnbondingReason]
SUPPLIER_UNBONDING_REASON_UNSPECIFIED: SupplierUnbondingReason
SUPPLIER_UNBONDING_REASON_VOLUNTARY: SupplierUnbondingReason
SUPPLIER_UNBONDING_REASON_BELOW_MIN_STAKE: SupplierUnbondingReason
SUPPLIER_UNBONDING_REASON_MIGRATION: SupplierUnbondingReason

class EventSupplierStaked(_message.Message):
    __slots__ = ("session_end_height", "operator_address")
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    session_end_height: int
    operator_address: str
    def __init__(self, session_end_height: _Optional[int] = ..., operator_address: _Optional[str] = ...) -> None: ...

class EventSupplierUnbondingBegin(_message.Message):
    __slots__ = ("supplier", "reason", "session_end_height", "unbonding_end_height")
    SUPPLIER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNBONDING_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    supplier: _shared_pb2.Supplier
    reason: SupplierUnbondingReason
    session_end_height: int
    unbonding_end_height: int
    def __init__(self, supplier: _Optional[_Union[_shared_pb2.Supplier, _Mapping]] = ..., reason: _Optional[_Union[SupplierUnbondingReason, str]] = ..., session_end_height: _Optional[int] = ..., unbonding_end_height: _Optional[int] = ...) -> None: ...

class EventSupplierUnbondingEnd(_message.Message):
    __slots__ = ("supplier", "reason", "session_end_height", "unbonding_end_height")
    SUPPLIER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNBONDING_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    supplier: _shared_pb2.Supplier
    reason: SupplierUnbondingReason
    session_end_height: int
    unbonding_end_height: int
    def __init__(self, supplier: _Optional[_Union[_shared_pb2.Supplier, _Mapping]] = ..., reason: _Optional[_Union[SupplierUnbondingReason, str]] = ..., session_end_height: _Optional[int] = ..., unbonding_end_height: _Optional[int] = ...) -> None: ...

class EventSupplierUnbondingCanceled(_message.Message):
    __slots__ = ("supplier", "session_end_height", "height")
    SUPPLIER_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    supplier: _shared_pb2.Supplier
    session_end_height: int
    height: int
    def __init__(self, supplier: _Optional[_Union[_shared_pb2.Supplier, _Mapping]] = ..., session_end_height: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class EventSupplierStakeStuckInModulePool(_message.Message):
    __slots__ = ("operator_address", "owner_address", "stuck_coin", "reason", "session_end_height")
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STUCK_COIN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    operator_address: str
    owner_address: str
    stuck_coin: _v1beta1_pb2_1.Coin
    reason: str
    session_end_height: int
    def __init__(self, operator_address: _Optional[str] = ..., owner_address: _Optional[str] = ..., stuck_coin: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., reason: _Optional[str] = ..., session_end_height: _Optional[int] = ...) -> None: ...

class EventSupplierServiceConfigActivated(_message.Message):
    __slots__ = ("activation_height", "operator_address", "service_id")
    ACTIVATION_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    activation_height: int
    operator_address: str
    service_id: str
    def __init__(self, activation_height: _Optional[int] = ..., operator_address: _Optional[str] = ..., service_id: _Optional[str] = ...) -> None: ...

class GenesisState(_message.Message):
    __slots__ = ("params", "supplierList")
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    SUPPLIERLIST_FIELD_NUMBER: _ClassVar[int]
    params: Params
    supplierList: _containers.RepeatedCompositeFieldContainer[_shared_pb2.Supplier]
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ..., supplierList: _Optional[_Iterable[_Union[_shared_pb2.Supplier, _Mapping]]] = ...) -> None: ...

class Params(_message.Message):
    __slots__ = ("min_stake", "staking_fee")
    MIN_STAKE_FIELD_NUMBER: _ClassVar[int]
    STAKING_FEE_FIELD_NUMBER: _ClassVar[int]
    min_stake: _v1beta1_pb2_1.Coin
    staking_fee: _v1beta1_pb2_1.Coin
    def __init__(self, min_stake: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., staking_fee: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ...) -> None: ...

class QueryParamsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryParamsResponse(_message.Message):
    __slots__ = ("params",)
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    params: Params
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ...) -> None: ...

class QueryGetSupplierRequest(_message.Message):
    __slots__ = ("operator_address", "dehydrated")
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DEHYDRATED_FIELD_NUMBER: _ClassVar[int]
    operator_address: str
    dehydrated: bool
    def __init__(self, operator_address: _Optional[str] = ..., dehydrated: _Optional[bool] = ...) -> None: ...

class QueryGetSupplierResponse(_message.Message):
    __slots__ = ("supplier",)
    SUPPLIER_FIELD_NUMBER: _ClassVar[int]
    supplier: _shared_pb2.Supplier
    def __init__(self, supplier: _Optional[_Union[_shared_pb2.Supplier, _Mapping]] = ...) -> None: ...

class QueryAllSuppliersRequest(_message.Message):
    __slots__ = ("pagination", "service_id", "operator_address", "owner_address", "dehydrated")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DEHYDRATED_FIELD_NUMBER: _ClassVar[int]
    pagination: _v1beta1_pb2.PageRequest
    service_id: str
    operator_address: str
    owner_address: str
    dehydrated: bool
    def __init__(self, pagination: _Optional[_Union[_v1beta1_pb2.PageRequest, _Mapping]] = ..., service_id: _Optional[str] = ..., operator_address: _Optional[str] = ..., owner_address: _Optional[str] = ..., dehydrated: _Optional[bool] = ...) -> None: ...

class QueryAllSuppliersResponse(_message.Message):
    __slots__ = ("supplier", "pagination")
    SUPPLIER_FIELD_NUMBER: _ClassVar[int]
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    supplier: _containers.RepeatedCompositeFieldContainer[_shared_pb2.Supplier]
    pagination: _v1beta1_pb2.PageResponse
    def __init__(self, supplier: _Optional[_Iterable[_Union[_shared_pb2.Supplier, _Mapping]]] = ..., pagination: _Optional[_Union[_v1beta1_pb2.PageResponse, _Mapping]] = ...) -> None: ...

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

class MsgStakeSupplier(_message.Message):
    __slots__ = ("signer", "owner_address", "operator_address", "stake", "services")
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    OWNER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STAKE_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    signer: str
    owner_address: str
    operator_address: str
    stake: _v1beta1_pb2_1.Coin
    services: _containers.RepeatedCompositeFieldContainer[_shared_pb2.SupplierServiceConfig]
    def __init__(self, signer: _Optional[str] = ..., owner_address: _Optional[str] = ..., operator_address: _Optional[str] = ..., stake: _Optional[_Union[_v1beta1_pb2_1.Coin, _Mapping]] = ..., services: _Optional[_Iterable[_Union[_shared_pb2.SupplierServiceConfig, _Mapping]]] = ...) -> None: ...

class MsgStakeSupplierResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MsgUnstakeSupplier(_message.Message):
    __slots__ = ("signer", "operator_address")
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    signer: str
    operator_address: str
    def __init__(self, signer: _Optional[str] = ..., operator_address: _Optional[str] = ...) -> None: ...

class MsgUnstakeSupplierResponse(_message.Message):
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
