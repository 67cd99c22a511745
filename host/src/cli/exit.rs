//! Exit codes (spec 05 §15.1 [D-53]).

use std::process::ExitCode;

use telson_core::config::Failure;

macro_rules! exits {
    ($( $name:ident = $number:literal $meaning:literal; )*) => {
        /// How a command ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Exit { $( #[doc = $meaning] $name, )* }

        impl Exit {
            /// Every exit code, for the generated reference.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// The number that the shell sees.
            pub const fn number(self) -> u8 {
                match self { $( Self::$name => $number, )* }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => $meaning, )* }
            }
        }
    };
}

exits! {
    Done = 0 "The command did what it was asked to do.";
    Failed = 1 "The command failed, or the gateway answered with an error.";
    Usage = 2 "The command line is wrong.";
    Unreachable = 3 "No gateway answers, or not in time.";
    Refused = 4 "The gateway refused the credential, asks for pairing first, or is not the one whose certificate is pinned.";
    Config = 5 "The configuration has a mistake, or would expose an unprotected gateway.";
    ReadOnly = 73 "The state directory cannot be written.";
    Full = 74 "The disk that holds the state directory is full.";
    Temporary = 75 "The gateway is starting or stopping; the same command may work in a moment.";
    Running = 78 "Another gateway runs on the same state directory. A supervisor should not try again.";
    Interrupted = 130 "The user interrupted the command.";
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ArgInvalid => Self::Usage,
            Failure::GatewayUnreachable | Failure::GatewayTimeout => Self::Unreachable,
            Failure::AuthRefused | Failure::TlsPin => Self::Refused,
            Failure::ConfigInvalid
            | Failure::ConfigRead
            | Failure::ConfigConflict
            | Failure::ModeRemote
            | Failure::AuthMissing
            | Failure::FunnelNeedsPassword
            | Failure::TsNeedsLoopback
            | Failure::AuthRequiredForBind => Self::Config,
            Failure::StateReadOnly => Self::ReadOnly,
            Failure::StateFull => Self::Full,
            Failure::Unavailable => Self::Temporary,
            Failure::LockHeld => Self::Running,
            Failure::Interrupted => Self::Interrupted,
            Failure::StateBroken
            | Failure::PortInUse
            | Failure::BindFailed
            | Failure::TlsFailed
            | Failure::TsFailed
            | Failure::ShutdownTimeout
            | Failure::GatewayClosed
            | Failure::RpcError
            | Failure::RunFailed
            | Failure::Internal => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_success_alone_is_zero() {
        let numbers: std::collections::BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        assert_eq!(numbers.len(), Exit::ALL.len());
        assert!(Failure::ALL.iter().all(|failure| Exit::from(*failure).number() != 0));
    }
}
