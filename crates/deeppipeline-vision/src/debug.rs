//! `Debug` of what holds models, processes and files, whose fields would tell little: the name of the type. And of
//! errors, which is what `main` prints: what went wrong, in words.

use std::fmt;

macro_rules! named {
    ($($type:ident)*) => {
        $(impl fmt::Debug for crate::$type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        })*
    };
}

named!(Capture ClassifyBehaviour DetectPeople EstimatePose Follow Model Record Reopened Track WriteVideo);

macro_rules! readable {
    ($($error:ident)*) => {
        $(impl fmt::Debug for crate::$error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        })*
    };
}

readable!(CaptureError FfmpegError ModelError OutputError);
