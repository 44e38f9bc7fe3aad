//! What goes on in a long run: a bar where a person watches, plain lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The steps of a run.
pub struct Progress(ProgressBar);

impl Progress {
    /// A run of so many steps.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        if let Ok(style) =
            ProgressStyle::with_template("[{elapsed_precise}] {bar:24} {pos}/{len} {msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Begins the next step.
    pub fn begin(&self, what: &str) {
        self.0.inc(1);
        self.tell(what);
        if self.0.is_hidden() {
            eprintln!("{what}");
        }
    }

    /// Says more about the step, to a person who watches.
    pub fn tell(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
