//! `takt`'s side: opens the library and calls it.

use std::{ffi::c_void, path::Path, ptr, sync::Mutex};

use libloading::Library as SharedObject;
use serde::de::DeserializeOwned;

use super::{ABI, DONE, INTERRUPTED, Message, RawArrays, RawListener, RawReply, RawText, open};
use crate::protocol::{
    Array, Arrays, Event, Failure, Learning, Listener, Loading, Standing, Trained,
};

/// The library, open for good: libtorch does not survive being unloaded.
#[derive(Debug)]
pub(crate) struct Library {
    train: unsafe extern "C" fn(RawText, RawArrays, RawListener) -> RawReply,
    load: unsafe extern "C" fn(RawText, RawArrays, *mut *mut c_void) -> RawReply,
    predict: unsafe extern "C" fn(*const c_void, RawText, RawArrays) -> RawReply,
    unload: unsafe extern "C" fn(*mut c_void),
    free: unsafe extern "C" fn(RawReply),
}

/// A network in the library, ready to predict.
#[derive(Debug)]
pub(crate) struct Model {
    library: &'static Library,
    handle: *mut c_void,
}

// SAFETY: the handle is only passed to the library, which locks the model for each call.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Library {
    /// Opens the library at `path`. Loads libtorch: 0.3 s and 110 MB.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let named = |error: libloading::Error| {
            format!("cannot load `{}`: {}", path.display(), reason(&error))
        };
        // SAFETY: the file is our own library (its version text is checked next); its constructors are those of libtorch.
        let object = unsafe { SharedObject::new(path) }.map_err(named)?;
        // SAFETY: the types are those that `exports` declares, from the same sources; the version text is compared first.
        let library = unsafe {
            let abi = object
                .get::<extern "C" fn() -> RawText>(c"taktline_torch_abi")
                .map_err(named)?;
            let text = abi().borrow();
            if text != ABI {
                return Err(format!(
                    "`{}` is `{text}`, but this takt needs `{ABI}`",
                    path.display()
                ));
            }
            Self {
                train: *object.get(c"taktline_torch_train").map_err(named)?,
                load: *object.get(c"taktline_torch_load").map_err(named)?,
                predict: *object.get(c"taktline_torch_predict").map_err(named)?,
                unload: *object.get(c"taktline_torch_unload").map_err(named)?,
                free: *object.get(c"taktline_torch_free").map_err(named)?,
            }
        };
        std::mem::forget(object);
        Ok(library)
    }

    /// Trains; the answer's arrays are the network's tensors, or rows that were made up.
    pub(crate) fn train(
        &self,
        request: &Learning,
        arrays: &[Array<'_>],
        listener: &dyn Listener,
    ) -> Result<(Trained, Arrays<'static>), Failure> {
        let message = Message::new(request, arrays)?;
        let ear = Ear {
            listener,
            failure: Mutex::new(None),
        };
        let raw = RawListener {
            context: ptr::from_ref(&ear).cast(),
            is_cancelled,
            event,
            checkpoint,
        };
        // SAFETY: message, arrays and `ear` live until the call returns.
        let answer = self.answer(unsafe { (self.train)(message.text(), message.arrays(), raw) });
        // A failure of our own listener says more than what the library makes of it.
        match ear.failure.into_inner() {
            Ok(Some(failure)) => Err(failure),
            _ => answer,
        }
    }

    /// Makes a network or a module ready to predict.
    pub(crate) fn load(
        &'static self,
        request: &Loading,
        tensors: &[Array<'_>],
    ) -> Result<Model, Failure> {
        let message = Message::new(request, tensors)?;
        let mut handle = ptr::null_mut();
        // SAFETY: message and tensors live until the call returns, and so does `handle`.
        self.answer::<()>(unsafe {
            (self.load)(message.text(), message.arrays(), &raw mut handle)
        })?;
        Ok(Model {
            library: self,
            handle,
        })
    }

    fn answer<T: DeserializeOwned>(
        &self,
        reply: RawReply,
    ) -> Result<(T, Arrays<'static>), Failure> {
        let answer = match reply.status {
            // SAFETY: the library keeps the reply until `free`, and what is taken out is made our own before that.
            DONE => unsafe { open::<T>(reply.text, reply.arrays) }
                .map_err(Failure::Failed)
                .map(|(body, arrays)| {
                    let own = |array: Array<'_>| Array {
                        name: array.name,
                        shape: array.shape,
                        numbers: array.numbers.into_owned(),
                    };
                    (body, Arrays(arrays.0.into_iter().map(own).collect()))
                }),
            INTERRUPTED => Err(Failure::Interrupted),
            // SAFETY: as above.
            _ => Err(Failure::Failed(unsafe { reply.text.borrow() }.into_owned())),
        };
        // SAFETY: the reply is the library's, and nothing of it is used any more.
        unsafe { (self.free)(reply) };
        answer
    }
}

impl Model {
    /// Predicts: an array a row for each row of `inputs`.
    pub(crate) fn predict(&self, inputs: &[Array<'_>]) -> Result<Arrays<'static>, Failure> {
        let message = Message::new(&(), inputs)?;
        // SAFETY: the handle came from this library and is given back only by `drop`; message and inputs live until it returns.
        let reply =
            unsafe { (self.library.predict)(self.handle, message.text(), message.arrays()) };
        self.library.answer::<()>(reply).map(|((), arrays)| arrays)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the handle came from this library and is not used again.
        unsafe { (self.library.unload)(self.handle) };
    }
}

/// What the loader says, without the "no such file" chains that glibc prints around it.
fn reason(error: &dyn std::error::Error) -> String {
    let text = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    text.lines().next().unwrap_or_default().to_owned()
}

struct Ear<'a> {
    listener: &'a dyn Listener,
    failure: Mutex<Option<Failure>>,
}

impl Ear<'_> {
    /// # Safety
    /// `context` points to a live `Ear`.
    unsafe fn of<'a>(context: *const c_void) -> &'a Self {
        // SAFETY: the caller's promise.
        unsafe { &*context.cast::<Self>() }
    }
}

extern "C" fn is_cancelled(context: *const c_void) -> bool {
    // SAFETY: `train` lends its ear for the length of the call.
    unsafe { Ear::of(context) }.listener.is_cancelled()
}

extern "C" fn event(context: *const c_void, event: RawText) {
    // SAFETY: as above; the library lends the text for this call.
    let (ear, text) = unsafe { (Ear::of(context), event.borrow()) };
    if let Ok(event) = serde_json::from_str::<Event>(&text) {
        ear.listener.event(event);
    }
}

extern "C" fn checkpoint(context: *const c_void, standing: RawText, arrays: RawArrays) -> bool {
    // SAFETY: as above.
    let (ear, message) = unsafe { (Ear::of(context), open::<Standing>(standing, arrays)) };
    let kept = message
        .map_err(Failure::Failed)
        .and_then(|(standing, arrays)| ear.listener.checkpoint(&standing, &arrays.0));
    match kept {
        Ok(()) => true,
        Err(failure) => {
            if let Ok(mut slot) = ear.failure.lock() {
                *slot = Some(failure);
            }
            false
        }
    }
}
