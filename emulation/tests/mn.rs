//! PayFlow under Mininet's own command: `mn --custom payflow.py --controller payflow --switch payflow --link payflow`.

#![allow(clippy::unwrap_used)]

use payflow_emulation::trial::Tools;
use std::process::Command;

/// As a lab, in namespaces of its own with an Open vSwitch of its own; `mn` instead of the lab's script. When something goes
/// wrong, `mn` removes logs from /tmp, so it has one of its own as well.
const DRIVER: &str = r#"
import os, shutil, subprocess, sys
scripts, payflow = sys.argv[1:]
sys.path.insert(0, scripts)
import lab
from private_ovs import PrivateOvs, run
lab.isolate()
os.mkdir('/run/scripts')
open('/run/payflow', 'w').close()
run('mount', '--bind', scripts, '/run/scripts')
run('mount', '--bind', payflow, '/run/payflow')
run('mount', '-t', 'tmpfs', 'payflow-mn', '/tmp')
PrivateOvs().start()
commands = '''
pingall
h1 export PAYFLOW_API=http://10.0.0.254:8080 PAYFLOW_WALLET=/run/h1.key
h1 $PAYFLOW wallet new </dev/null
h1 $PAYFLOW wallet fund </dev/null
h1 $PAYFLOW reserve --to 10.0.0.4 --udp 5201 --rate 15Mbit --for 60s --max-price 0.5 </dev/null
h1 $PAYFLOW reserve --to 10.0.0.4 --udp 5202 --rate 15Mbit --for 60s --max-price 0.5 </dev/null
h1 $PAYFLOW status </dev/null
exit
'''
argv = [sys.executable, shutil.which('mn'), '--custom', '/run/scripts/payflow.py', '--controller', 'payflow', '--switch',
        'payflow,datapath=user', '--link', 'payflow,bw=20', '--topo', 'tree,2', '--wait']
done = subprocess.run(argv, input=commands, env=dict(os.environ, PAYFLOW='/run/payflow'), text=True, timeout=150,
                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
print(done.stdout)
print('interfaces left:', os.path.exists('/sys/class/net/pf-api'), flush=True)
os._exit(done.returncode)
"#;

#[test]
fn hosts_of_mn_ping_each_other_and_buy_what_its_links_carry_and_no_more() {
    let tools = Tools::find().unwrap();
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("unshare");
        sudo
    };
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.args(["/usr/bin/python3", "-B", "-c", DRIVER]);
    command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/mininet")]);
    command.arg(&tools.payflow);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let all = format!("{told}\n{errors}");
    assert!(output.status.success(), "{all}");
    assert!(told.contains("0% dropped (12/12 received)"), "{all}");
    // The first of two flows of 15 Mbit/s over links of 20.
    let bought: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("r1 ") || line.starts_with("r2 "))
        .collect();
    assert!(
        bought.len() == 1 && bought[0].contains("active") && bought[0].contains("10.0.0.4:5201"),
        "{all}"
    );
    assert!(told.contains("interfaces left: False"), "{all}");
}
