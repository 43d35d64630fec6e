//! The multipart uploads of a source that are open: those that an earlier run left, and this
//! run's own. Whoever stops a run learns here what there is to go on with, or to abort.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::checkpoint::OpenUpload;

/// By their source keys: of one object one upload is gone on with.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether somebody goes on with what a stop leaves open.
    kept: bool,
    left: BTreeMap<String, OpenUpload>,
    open: BTreeMap<String, OpenUpload>,
    /// To be aborted: another one of their keys is gone on with.
    useless: Vec<OpenUpload>,
    /// Since when uploads may be open that nobody remembers.
    strays_since: Option<Timestamp>,
}

impl Uploads {
    /// From now on a stop leaves uploads open. `left` are those of earlier runs.
    pub(crate) fn keep(&self, left: Vec<OpenUpload>, strays_since: Option<Timestamp>) {
        let mut state = self.state();
        state.kept = true;
        for upload in left {
            let other = state.left.insert(upload.key.clone(), upload);
            state.useless.extend(other);
        }
        state.strays_since = strays_since;
    }

    pub(super) fn are_kept(&self) -> bool {
        self.state().kept
    }

    pub(super) fn strays_since(&self) -> Option<Timestamp> {
        self.state().strays_since
    }

    /// What an earlier run left open of this object.
    pub(super) fn claim(&self, key: &str) -> Option<OpenUpload> {
        self.state().left.remove(key)
    }

    pub(super) fn opened(&self, upload: OpenUpload) {
        let mut state = self.state();
        let id = upload.upload_id.clone();
        // One that could not be aborted.
        let other = state.open.insert(upload.key.clone(), upload).filter(|other| other.upload_id != id);
        state.useless.extend(other);
    }

    /// Its parts' ETags turned out to be no MD5s.
    pub(super) fn is_kms(&self, key: &str) {
        if let Some(upload) = self.state().open.get_mut(key) {
            upload.kms = true;
        }
    }

    /// It was completed or aborted.
    pub(super) fn closed(&self, key: &str) {
        self.state().open.remove(key);
    }

    /// All that are open, for whoever ends them.
    pub(crate) fn take_all(&self) -> Vec<OpenUpload> {
        let State { left, open, useless, .. } = &mut *self.state();
        let all = std::mem::take(left).into_values().chain(std::mem::take(open).into_values());
        all.chain(std::mem::take(useless)).collect()
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<OpenUpload> {
        let state = self.state();
        state.left.values().chain(state.open.values()).chain(&state.useless).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
