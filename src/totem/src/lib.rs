//! totem
