//! The filters that ffmpeg applies to each picture before it gives it out.

use crate::ffmpeg::Header;

/// The description of the filters for an input, in ffmpeg's language.
pub(super) fn filters(header: &Header) -> String {
    [square_pixels(header), times(header), "format=rgb24".into(), "showinfo=checksum=0".into()].join(",")
}

/// Converts the colours by the stream's own matrix and range. Where pixels are not square, the picture gets wider or
/// higher, so that people have their true shape and no pixel is lost; a ratio beyond reason is an error in the stream.
fn square_pixels(header: &Header) -> String {
    const RATIO: &str = "if(between(sar,1/4,4),sar,1)";
    let matrix = header.matrix_to_assume().unwrap_or("auto");
    format!("scale=w='round(iw*max(1,{RATIO}))':h='round(ih/min(1,{RATIO}))':in_color_matrix={matrix}")
}

/// Gives every picture a time: one from before the start (a cut by an edit list) is shown at once, one without a time
/// when it would come at the usual rate.
fn times(header: &Header) -> String {
    const COMMON_RATE: f64 = 25.0;
    let step = 1.0 / header.frame_rate.unwrap_or(COMMON_RATE);
    format!("setpts='if(isnan(PTS),if(isnan(PREV_OUTPTS),0,PREV_OUTPTS+{step:.9}/TB),max(0,PTS))'")
}
