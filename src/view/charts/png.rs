//! A picture as PNG, through plotters' bitmap backend, with the embedded font.

use ab_glyph::{Font, PxScale, ScaleFont};
use plotters::prelude::BitMapBackend;
use plotters_backend::{BackendColor, BackendStyle, DrawingBackend, DrawingErrorKind};

use super::font::FONT;
use super::palette::{Color, PAGE, Rgb, Theme};
use super::picture::{Anchor, Box, Picture, Shape, Text};
use crate::error::{Error, Result};

/// Pixels of a PNG in one unit of the picture.
const SCALE: f64 = 2.0;

struct Pen(Rgb, u32);

impl BackendStyle for Pen {
    fn color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: self.0 }
    }

    fn stroke_width(&self) -> u32 {
        self.1
    }
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingErrorKind<E>) -> Error {
    Error::internal(format!("the picture cannot be drawn: {error}"))
}

/// The picture at [`SCALE`] pixels to a unit.
pub(super) fn file(picture: &Picture, theme: Theme) -> Result<Vec<u8>> {
    let size = |v: f64| (v * SCALE).ceil() as u32;
    let (width, height) = (size(picture.width), size(picture.height));
    let mut pixels = vec![255; width as usize * height as usize * 3];
    {
        let mut backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let corner = (width as i32, height as i32);
        backend.draw_rect((0, 0), corner, &Pen(theme.rgb(PAGE), 1), true).map_err(failed)?;
        for shape in &picture.shapes {
            draw(&mut backend, shape, theme).map_err(failed)?;
        }
        backend.present().map_err(failed)?;
    }
    let mut file = Vec::new();
    let wrong = |e: png::EncodingError| Error::internal(format!("the PNG cannot be made: {e}"));
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Flat areas and repeated glyphs: whole rows repeat, which filters would hide.
    encoder.set_filter(png::FilterType::NoFilter);
    encoder.set_compression(png::Compression::Default);
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(&pixels).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    Ok(file)
}

type Drawn<B> = std::result::Result<(), DrawingErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw<B: DrawingBackend>(backend: &mut B, shape: &Shape, theme: Theme) -> Drawn<B> {
    let at = |v: f64| (v * SCALE).round() as i32;
    let point = |p: &(f64, f64)| (at(p.0), at(p.1));
    let pen =
        |color: Color, width: f64| Pen(theme.rgb(color), (width * SCALE).round().max(1.0) as u32);
    let corners = |b: &Box| ((at(b.x), at(b.y)), (at(b.right()), at(b.bottom())));
    match shape {
        Shape::Fill(b, color) => {
            let (from, to) = corners(b);
            backend.draw_rect(from, to, &pen(*color, 0.0), true)
        }
        Shape::Frame(b, color, width) => {
            let ((l, t), (r, b)) = corners(b);
            backend.draw_path([(l, t), (r, t), (r, b), (l, b), (l, t)], &pen(*color, *width))
        }
        Shape::Line(points, color, width) => {
            backend.draw_path(points.iter().map(point), &pen(*color, *width))
        }
        Shape::Strokes(strokes, color, width) => {
            let pen = pen(*color, *width);
            strokes.iter().try_for_each(|s| backend.draw_path(s.iter().map(point), &pen))
        }
        Shape::Polygon(points, color) => {
            backend.fill_polygon(points.iter().map(point), &pen(*color, 0.0))
        }
        Shape::Disc(center, radius, color) => {
            let radius = (radius * SCALE).round().max(1.0) as u32;
            backend.draw_circle(point(center), radius, &pen(*color, 0.0), true)
        }
        Shape::Text(t) => text(backend, t, theme),
    }
}

fn text<B: DrawingBackend>(backend: &mut B, text: &Text, theme: Theme) -> Drawn<B> {
    let Some(font) = FONT.as_ref() else { return Ok(()) };
    let em = (text.size * SCALE) as f32;
    // The font's scale is the height of its lines, of which an em is a part.
    let scale = PxScale::from(em * font.height_unscaled() / font.units_per_em().unwrap_or(2048.0));
    let scaled = font.as_scaled(scale);
    let width = super::font::width(&text.text, f64::from(em));
    let before = match text.anchor {
        Anchor::Left => 0.0,
        Anchor::Middle => width / 2.0,
        Anchor::Right => width,
    };
    let (x, y) = (text.x * SCALE, text.y * SCALE);
    let rgb = theme.rgb(text.color);
    let mut along = -before;
    for c in text.text.chars() {
        let id = font.glyph_id(c);
        let glyph = id.with_scale_and_position(scale, ab_glyph::point(along as f32, 0.0));
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let mut drawn = Ok(());
            outline.draw(|gx, gy, coverage| {
                if drawn.is_err() || coverage <= 0.0 {
                    return;
                }
                let (gx, gy) = (
                    f64::from(bounds.min.x) + f64::from(gx),
                    f64::from(bounds.min.y) + f64::from(gy),
                );
                let (px, py) = if text.upright { (x + gy, y - gx) } else { (x + gx, y + gy) };
                let color = BackendColor { alpha: f64::from(coverage.min(1.0)), rgb };
                let at = (px.round() as i32, py.round() as i32);
                let (w, h) = backend.get_size();
                if at.0 >= 0 && at.1 >= 0 && at.0 < w as i32 && at.1 < h as i32 {
                    drawn = backend.draw_pixel(at, color);
                }
            });
            drawn?;
        }
        along += if id.0 == 0 { f64::from(em) } else { f64::from(scaled.h_advance(id)) };
    }
    Ok(())
}
