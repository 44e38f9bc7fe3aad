#!/bin/sh
# Fuzzes every decoder of rust_openflow with libFuzzer, for FUZZ_SECONDS (60) each, or only the targets
# that are named. Needs no other toolchain than the one the project is built with: the compiler's
# coverage instrumentation is asked for by hand. What is found stays in target/fuzz/artifacts.
# Used by `make fuzz`.
set -eu
cd "$(dirname "$0")/.."

: "${CARGO:=cargo}" "${FUZZ_SECONDS:=60}"
host=$(rustc -vV | sed -n 's/^host: //p')
work=${CARGO_TARGET_DIR:-target}/fuzz
targets=${*:-$(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' fuzz/Cargo.toml)}

# The target directory is its own, as nothing else is built with these flags; `--target` keeps them
# away from build scripts.
build() {
    $CARGO build --quiet --release --manifest-path fuzz/Cargo.toml --target-dir "$work" --target "$host" "$@"
}
coverage="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

bins=""
for target in $targets; do bins="$bins --bin $target"; done
# shellcheck disable=SC2086  # one word per option
RUSTFLAGS="$coverage" build $bins
$CARGO run --quiet --manifest-path fuzz/Cargo.toml --target-dir "$work" --bin seeds -- fuzz/seeds

mkdir -p "$work/artifacts"
for target in $targets; do
    corpus="$work/corpus/$target"
    mkdir -p "$corpus"
    echo "fuzz: $target, $FUZZ_SECONDS s"
    "$work/$host/release/$target" -max_total_time="$FUZZ_SECONDS" -max_len=8192 -timeout=5 \
        -rss_limit_mb=512 -artifact_prefix="$work/artifacts/$target-" -print_final_stats=1 \
        "$corpus" "fuzz/seeds/$target" >"$work/$target.log" 2>&1 || {
        tail -40 "$work/$target.log" >&2
        echo "fuzz: $target failed; the input is in $work/artifacts; the whole story in $work/$target.log" >&2
        exit 1
    }
    sed -n 's/^stat::\(number_of_executed_units\|peak_rss_mb\): */  \1 /p' "$work/$target.log"
done
