//! The stable names of failures at start and in commands (spec 05 §0.2).

use std::fmt;

macro_rules! failures {
    ($( $name:ident $code:literal $meaning:literal; )*) => {
        /// Why the gateway did not start, or why a command failed. The code stands in `--json` output and in the
        /// log field `code`, and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failure { $( #[doc = $meaning] $name, )* }

        impl Failure {
            /// Every failure, for the generated reference.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// The code.
            pub const fn code(self) -> &'static str {
                match self { $( Self::$name => $code, )* }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => $meaning, )* }
            }
        }
    };
}

failures! {
    ConfigInvalid "CONFIG_INVALID" "The configuration file has a mistake; the message names file, line, column and key.";
    ConfigRead "CONFIG_READ" "The configuration file cannot be read.";
    ConfigConflict "CONFIG_CONFLICT" "Two settings contradict each other.";
    ModeRemote "MODE_REMOTE" "`gateway.mode` is `remote`, so no gateway starts on this machine.";
    ArgInvalid "ARG_INVALID" "A flag, an argument or an environment variable has a value that cannot be used.";
    AuthMissing "AUTH_MISSING" "The authentication mode has no usable secret.";
    AuthRequiredForBind "AUTH_REQUIRED_FOR_BIND" "Other machines could reach the gateway, and no secret protects it.";
    FunnelNeedsPassword "FUNNEL_NEEDS_PASSWORD" "The gateway would be open to the internet, and no password protects it.";
    TsNeedsLoopback "TS_NEEDS_LOOPBACK" "Tailscale can only be put in front of a gateway that listens on this machine alone.";
    TsFailed "TS_FAILED" "The gateway was told to be reachable through Tailscale, and could not be.";
    StateReadOnly "STATE_READ_ONLY" "The state directory cannot be written.";
    StateFull "STATE_FULL" "The disk that holds the state directory is full.";
    StateBroken "STATE_BROKEN" "The state directory is unusable: not a directory, somebody else's, or damaged.";
    LockHeld "LOCK_HELD" "Another gateway runs on the same state directory.";
    PortInUse "PORT_IN_USE" "Another program listens on the port.";
    BindFailed "BIND_FAILED" "The address cannot be listened on.";
    TlsFailed "TLS_FAILED" "The certificate or its key is missing, unreadable or unusable.";
    TlsPin "TLS_PIN_MISMATCH" "The gateway shows another certificate than the pinned one; nothing was sent to it.";
    ShutdownTimeout "SHUTDOWN_TIMEOUT" "The gateway did not stop in time.";
    GatewayUnreachable "GATEWAY_UNREACHABLE" "No gateway answers at the address.";
    GatewayTimeout "GATEWAY_TIMEOUT" "The gateway did not answer in time.";
    GatewayClosed "GATEWAY_CLOSED" "The gateway closed the connection before it answered.";
    AuthRefused "AUTH_REFUSED" "The gateway refused the credential, or asks for pairing first.";
    RpcError "RPC_ERROR" "The gateway answered with an error.";
    RunFailed "RUN_FAILED" "The run of the agent ended with an error.";
    Unavailable "UNAVAILABLE" "The gateway is starting or stopping; try again in a moment.";
    Interrupted "INTERRUPTED" "The user interrupted the command.";
    Internal "INTERNAL" "Something failed that is none of the above.";
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
