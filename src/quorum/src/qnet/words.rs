//! The numbers of the protocol, and the words that the original's tools print for them.

/// An enum whose members are numbers on the wire.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($member:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $($member = $code),* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$member),*];

            pub fn code(self) -> $repr {
                self as $repr
            }

            pub fn of_code(code: $repr) -> Option<$name> {
                $name::ALL.iter().copied().find(|m| m.code() == code)
            }
        }
    };
}

numbers! {
    Kind: u16 {
        Preinit = 0,
        PreinitReply = 1,
        StartTls = 2,
        Init = 3,
        InitReply = 4,
        ServerError = 5,
        SetOption = 6,
        SetOptionReply = 7,
        EchoRequest = 8,
        EchoReply = 9,
        NodeList = 10,
        NodeListReply = 11,
        AskForVote = 12,
        AskForVoteReply = 13,
        VoteInfo = 14,
        VoteInfoReply = 15,
        HeuristicsChange = 16,
        HeuristicsChangeReply = 17,
    }
}

numbers! {
    /// What a peer wants of TLS.
    Tls: u8 { Unsupported = 0, Supported = 1, Required = 2 }
}

numbers! {
    /// Who decides how.
    Algorithm: u16 { Test = 0, Ffsplit = 1, TwoNodeLms = 2, Lms = 3 }
}

numbers! {
    NodeState: u8 { Member = 1, Dead = 2, Leaving = 3 }
}

numbers! {
    ListKind: u8 { InitialConfig = 0, ChangedConfig = 1, Membership = 2, Quorum = 3 }
}

numbers! {
    Vote: u8 { Ack = 1, Nack = 2, AskLater = 3, WaitForReply = 4, NoChange = 5 }
}

numbers! {
    /// Whether the node's own checks of its surroundings pass.
    Heuristics: u8 { Undefined = 0, Pass = 1, Fail = 2 }
}

numbers! {
    /// Why a request was not granted.
    Refusal: u16 {
        UnsupportedNeededMessage = 1,
        UnsupportedNeededOption = 2,
        TlsRequired = 3,
        UnsupportedMessage = 4,
        MessageTooLong = 5,
        PreinitRequired = 6,
        MissingOption = 7,
        UnexpectedMessage = 8,
        Undecodable = 9,
        Internal = 10,
        InitRequired = 11,
        UnsupportedAlgorithm = 12,
        InvalidHeartbeat = 13,
        UnsupportedAlgorithmMessage = 14,
        TieBreakerDiffers = 15,
        AlgorithmDiffers = 16,
        DuplicateNodeId = 17,
        InvalidConfigList = 18,
        InvalidMembershipList = 19,
    }
}

/// Which half goes on where nothing else tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TieBreaker {
    Lowest,
    Highest,
    Node(u32),
}

impl TieBreaker {
    /// As `quorum.device.net.tie_breaker` has it.
    pub fn of_text(text: &str) -> Option<TieBreaker> {
        match text {
            "lowest" => Some(TieBreaker::Lowest),
            "highest" => Some(TieBreaker::Highest),
            id => id.parse().ok().filter(|id| *id > 0).map(TieBreaker::Node),
        }
    }

    pub fn words(self) -> String {
        match self {
            TieBreaker::Lowest => "Node with lowest node ID".to_owned(),
            TieBreaker::Highest => "Node with highest node ID".to_owned(),
            TieBreaker::Node(id) => format!("Node with node ID {id}"),
        }
    }
}

impl Algorithm {
    /// As `quorum.device.net.algorithm` has it.
    pub fn of_text(text: &str) -> Option<Algorithm> {
        match text {
            "test" => Some(Algorithm::Test),
            "ffsplit" => Some(Algorithm::Ffsplit),
            "2nodelms" => Some(Algorithm::TwoNodeLms),
            "lms" => Some(Algorithm::Lms),
            _ => None,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Algorithm::Test => "Test",
            Algorithm::Ffsplit => "Fifty-Fifty split",
            Algorithm::TwoNodeLms => "2 Node LMS",
            Algorithm::Lms => "LMS",
        }
    }
}

impl Tls {
    pub fn words(self) -> &'static str {
        match self {
            Tls::Unsupported => "Unsupported",
            Tls::Supported => "Supported",
            Tls::Required => "Required",
        }
    }
}

impl Vote {
    pub fn words(self) -> &'static str {
        match self {
            Vote::Ack => "ACK",
            Vote::Nack => "NACK",
            Vote::AskLater => "Ask later",
            Vote::WaitForReply => "Wait for reply",
            Vote::NoChange => "No change",
        }
    }

    /// Yes or no, not about when.
    pub fn is_decision(self) -> bool {
        matches!(self, Vote::Ack | Vote::Nack)
    }
}

impl Heuristics {
    pub fn words(self) -> &'static str {
        match self {
            Heuristics::Undefined => "Undefined",
            Heuristics::Pass => "Pass",
            Heuristics::Fail => "Fail",
        }
    }
}

impl Refusal {
    pub fn words(self) -> &'static str {
        match self {
            Refusal::UnsupportedNeededMessage => "a message that is needed is not supported",
            Refusal::UnsupportedNeededOption => "an option that is needed is not supported",
            Refusal::TlsRequired => "TLS is required",
            Refusal::UnsupportedMessage => "the message is not supported",
            Refusal::MessageTooLong => "the message is too long",
            Refusal::PreinitRequired => "the session has not begun",
            Refusal::MissingOption => "an option is missing",
            Refusal::UnexpectedMessage => "the message is not one that a client sends",
            Refusal::Undecodable => "the message cannot be read",
            Refusal::Internal => "internal error",
            Refusal::InitRequired => "the node has not introduced itself",
            Refusal::UnsupportedAlgorithm => "the algorithm is not supported for this cluster",
            Refusal::InvalidHeartbeat => "the heartbeat interval is out of bounds",
            Refusal::UnsupportedAlgorithmMessage => "the algorithm does not know this message",
            Refusal::TieBreakerDiffers => "the tie breaker differs from that of the other nodes",
            Refusal::AlgorithmDiffers => "the algorithm differs from that of the other nodes",
            Refusal::DuplicateNodeId => "another client has this node id: is a former connection still open?",
            Refusal::InvalidConfigList => "the configured node list is not valid",
            Refusal::InvalidMembershipList => "the membership list is not valid",
        }
    }
}
