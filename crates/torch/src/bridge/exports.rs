//! The library's side: the functions that `takt` finds by name.

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::{
    ABI, DONE, FAILED, INTERRUPTED, Message, RawArrays, RawListener, RawReply, RawText, open,
};
use crate::{
    inference::Answers,
    module::Module,
    protocol::{Array, Arrays, Event, Failure, Learning, Listener, Loading, Standing},
    reason::reason,
    training,
};

/// Keeps what a reply points to.
struct ReplyOwner {
    message: Message,
    _arrays: Vec<Array<'static>>,
}

/// A loaded model. One call uses all threads where it is worth it, so calls take turns.
struct LoadedModel(Mutex<Loaded>);

enum Loaded {
    Network(Answers),
    Script(Module),
}

impl Loaded {
    fn load(request: &Loading, arrays: &Arrays<'_>) -> Result<Self, Failure> {
        match request {
            Loading::Network(load) => Answers::load(load, arrays).map(Self::Network),
            Loading::Script(script) => Module::load(script, arrays).map(Self::Script),
        }
    }

    fn predict(&mut self, arrays: &Arrays<'_>) -> Result<Vec<Array<'static>>, Failure> {
        match self {
            Self::Network(answers) => answers.predict(arrays),
            Self::Script(module) => module.predict(arrays),
        }
    }
}

fn reply(answer: Result<(impl Serialize, Vec<Array<'static>>), Failure>) -> RawReply {
    let (status, message, arrays) = match answer {
        Ok((body, arrays)) => match Message::new(&body, &arrays) {
            Ok(message) => (DONE, message, arrays),
            Err(error) => (FAILED, failed(&error), Vec::new()),
        },
        Err(Failure::Interrupted) => (INTERRUPTED, failed("interrupted"), Vec::new()),
        Err(Failure::Failed(error)) => (FAILED, failed(&error), Vec::new()),
    };
    let owner = Box::new(ReplyOwner {
        message,
        _arrays: arrays,
    });
    RawReply {
        status,
        text: owner.message.text(),
        arrays: owner.message.arrays(),
        owner: Box::into_raw(owner).cast(),
    }
}

fn failed(error: &str) -> Message {
    Message {
        text: error.to_owned(),
        arrays: Vec::new(),
    }
}

/// Runs `work`; a panic in it becomes an error, because unwinding must not cross the boundary.
fn guarded<T: Serialize>(
    work: impl FnOnce() -> Result<(T, Vec<Array<'static>>), Failure>,
) -> RawReply {
    reply(
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Failed(format!(
                "the libtorch library failed: {}",
                reason(text.unwrap_or("unknown reason"))
            )))
        }),
    )
}

struct RemoteListener(RawListener);

impl Listener for RemoteListener {
    fn is_cancelled(&self) -> bool {
        (self.0.is_cancelled)(self.0.context)
    }

    fn event(&self, event: Event) {
        if let Ok(text) = serde_json::to_string(&event) {
            (self.0.event)(self.0.context, RawText::lend(&text));
        }
    }

    fn checkpoint(&self, standing: &Standing, arrays: &[Array<'_>]) -> Result<(), Failure> {
        let message = Message::new(standing, arrays)?;
        if (self.0.checkpoint)(self.0.context, message.text(), message.arrays()) {
            Ok(())
        } else {
            Err(Failure::Failed("the checkpoint could not be kept".into()))
        }
    }
}

/// The version text; `takt` calls nothing else if it is not its own [`ABI`].
#[unsafe(no_mangle)]
pub extern "C" fn taktline_torch_abi() -> RawText {
    RawText::lend(ABI)
}

/// Trains.
///
/// # Safety
/// Text, arrays and what the listener points to live until it returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taktline_torch_train(
    request: RawText,
    arrays: RawArrays,
    listener: RawListener,
) -> RawReply {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, arrays) = unsafe { open::<Learning>(request, arrays) }?;
        training::train(&request, &arrays, &RemoteListener(listener))
    })
}

/// Loads a trained network or a module; `model` gets a handle for [`taktline_torch_predict`].
///
/// # Safety
/// Text and arrays live until it returns; `model` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taktline_torch_load(
    request: RawText,
    arrays: RawArrays,
    model: *mut *mut c_void,
) -> RawReply {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (request, arrays) = unsafe { open::<Loading>(request, arrays) }?;
        let loaded = Box::new(LoadedModel(Mutex::new(Loaded::load(&request, &arrays)?)));
        // SAFETY: the caller's promise.
        unsafe { model.write(Box::into_raw(loaded).cast()) };
        Ok(((), Vec::new()))
    })
}

/// Predicts.
///
/// # Safety
/// `model` came from [`taktline_torch_load`] and was not unloaded; text and arrays live until it returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taktline_torch_predict(
    model: *const c_void,
    request: RawText,
    arrays: RawArrays,
) -> RawReply {
    guarded(|| {
        // SAFETY: the caller's promise; `load` boxed a `LoadedModel`.
        let (((), arrays), model) =
            unsafe { (open::<()>(request, arrays)?, &*model.cast::<LoadedModel>()) };
        let mut answers = model
            .0
            .lock()
            .map_err(|_| "an earlier prediction failed halfway".to_owned())?;
        Ok(((), answers.predict(&arrays)?))
    })
}

/// Gives a model back.
///
/// # Safety
/// `model` came from [`taktline_torch_load`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taktline_torch_unload(model: *mut c_void) {
    // SAFETY: the caller's promise; `load` boxed a `LoadedModel`.
    let model = unsafe { Box::from_raw(model.cast::<LoadedModel>()) };
    // A destructor that fails must not unwind into the caller, and there is nothing left to tell it.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(model)));
}

/// Gives a reply's memory back.
///
/// # Safety
/// The reply came from this library and nothing of it is used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taktline_torch_free(reply: RawReply) {
    if !reply.owner.is_null() {
        // SAFETY: the caller's promise; `reply` boxed a `ReplyOwner`.
        drop(unsafe { Box::from_raw(reply.owner.cast::<ReplyOwner>()) });
    }
}

/// A tensor over numbers that lie elsewhere, without a copy. It must not outlive them and nobody may write to it.
///
/// # Errors
/// What libtorch says, where the shape is impossible.
pub(crate) fn tensor_over(numbers: &[f32], shape: &[i64]) -> Result<Tensor, tch::TchError> {
    debug_assert_eq!(shape.iter().product::<i64>(), numbers.len() as i64);
    // SAFETY: the slice holds as many numbers as the shape says (`open` and the callers check it); the callers drop the
    // tensor before the call that lent the numbers returns, and only read it.
    unsafe {
        Tensor::f_from_blob(
            numbers.as_ptr().cast(),
            shape,
            &[],
            Kind::Float,
            Device::Cpu,
        )
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    pub(super) const M_TRIM_THRESHOLD: c_int = -1;
    pub(super) const M_MMAP_THRESHOLD: c_int = -3;

    unsafe extern "C" {
        pub(super) fn mallopt(parameter: c_int, value: c_int) -> c_int;
        pub(super) fn malloc_trim(pad: usize) -> c_int;
    }
}

/// Has glibc keep freed memory instead of giving it back to the system after every layer of every batch: the page faults
/// were a third of the training time.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both only set numbers inside the allocator, under its lock.
    unsafe {
        glibc::mallopt(glibc::M_MMAP_THRESHOLD, 32 << 20);
        glibc::mallopt(glibc::M_TRIM_THRESHOLD, 256 << 20);
    }
}

/// Gives back what has been kept so far, when training is over.
pub(crate) fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: gives unused pages back; allocated memory stays.
    unsafe {
        glibc::malloc_trim(0);
    }
}
