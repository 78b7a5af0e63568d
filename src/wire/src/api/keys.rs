//! A node's own keys (`corosync-cmapctl -s`): scripts leave notes there. They stand beside what the node itself says of its
//! configuration and state, belong to this one node, and are gone when it stops.

use base::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of a binary value.
pub const MAX_BINARY_BYTES: usize = 8 * 1024;

/// With corosync's names for the types.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyValue {
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Flt(f32),
    Dbl(f64),
    Str(Value),
    Bin(Vec<u8>),
}

impl KeyValue {
    pub fn kind(&self) -> &'static str {
        match self {
            KeyValue::I8(_) => "i8",
            KeyValue::U8(_) => "u8",
            KeyValue::I16(_) => "i16",
            KeyValue::U16(_) => "u16",
            KeyValue::I32(_) => "i32",
            KeyValue::U32(_) => "u32",
            KeyValue::I64(_) => "i64",
            KeyValue::U64(_) => "u64",
            KeyValue::Flt(_) => "flt",
            KeyValue::Dbl(_) => "dbl",
            KeyValue::Str(_) => "str",
            KeyValue::Bin(_) => "bin",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyChange {
    Set { name: String, value: KeyValue },
    Delete { name: String },
    DeletePrefix { prefix: String },
}

/// All of the changes, in their order, or none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeysCall {
    pub changes: Vec<KeyChange>,
}

/// Corosync's word for why a change was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KeyError {
    #[serde(rename = "CS_ERR_NAME_TOO_LONG")]
    Name,
    #[serde(rename = "CS_ERR_ACCESS")]
    Access,
    #[serde(rename = "CS_ERR_NOT_EXIST")]
    NotExist,
    #[serde(rename = "CS_ERR_NO_MEMORY")]
    NoMemory,
    #[serde(rename = "CS_ERR_INVALID_PARAM")]
    Invalid,
}

impl KeyError {
    pub fn word(self) -> &'static str {
        match self {
            KeyError::Name => "CS_ERR_NAME_TOO_LONG",
            KeyError::Access => "CS_ERR_ACCESS",
            KeyError::NotExist => "CS_ERR_NOT_EXIST",
            KeyError::NoMemory => "CS_ERR_NO_MEMORY",
            KeyError::Invalid => "CS_ERR_INVALID_PARAM",
        }
    }
}

/// Which change was refused, from 0, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRefused {
    pub change: usize,
    pub error: KeyError,
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KeysReply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<KeyRefused>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEvent {
    Create,
    Modify,
    Delete,
}

impl KeyEvent {
    pub fn word(self) -> &'static str {
        match self {
            KeyEvent::Create => "create",
            KeyEvent::Modify => "modify",
            KeyEvent::Delete => "delete",
        }
    }
}

/// `value` is the new one, or the last one of a deleted key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeyChanged {
    pub event: KeyEvent,
    pub name: String,
    pub value: KeyValue,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Keys {
    pub keys: BTreeMap<String, KeyValue>,
    /// Number of the last change; ask with it for those after it.
    pub last: u64,
    /// After the number asked for, oldest first.
    #[serde(default)]
    pub changes: Vec<KeyChanged>,
    /// Changes after that number which are not kept any more.
    #[serde(default)]
    pub lost: u64,
}
