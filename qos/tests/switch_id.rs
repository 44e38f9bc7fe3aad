//! Datapath ids as text.
#![allow(clippy::unwrap_used)]

use payflow_qos::SwitchId;

#[test]
fn a_datapath_id_survives_json_whole() {
    let id = SwitchId(u64::MAX - 1);
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, "\"fffffffffffffffe\"");
    assert_eq!(serde_json::from_str::<SwitchId>(&json).unwrap(), id);
}

#[test]
fn what_is_not_hexadecimal_is_no_datapath_id() {
    for wrong in ["", "0x", "g", "-1", "+1", "00000000000000001", "1 "] {
        let error = wrong.parse::<SwitchId>().unwrap_err().to_string();
        assert!(
            error.contains("16 hexadecimal digits"),
            "{wrong:?}: {error}"
        );
    }
    assert_eq!("0x1F".parse(), Ok(SwitchId(31)));
}
