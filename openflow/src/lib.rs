//! OpenFlow 1.3: bytes to messages and back, and the session with a switch, without IO.
