//! A picture through plotters' backends: SVG, and PNG with the embedded font.

use ab_glyph::{Font, PxScale, ScaleFont};
use plotters::prelude::{BitMapBackend, RGBColor, SVGBackend};
use plotters::style::{FontFamily, IntoTextStyle, TextStyle};
use plotters_backend::{BackendColor, BackendStyle, DrawingBackend, DrawingErrorKind};

use super::font::{FAMILY, FONT};
use super::picture::{Anchor, Box, Color, Picture, Shape, Text};
use super::theme::PAGE;
use crate::error::{Error, Result};

/// Steps of an SVG's coordinates in one unit: the backend knows whole numbers only.
const SVG_STEPS: f64 = 4.0;
/// Pixels of a PNG in one unit.
const PNG_PIXELS: f64 = 2.0;

struct Pen(Color, u32);

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

/// Draws everything but texts, which each backend does its own way.
fn shapes<B: DrawingBackend>(
    backend: &mut B,
    picture: &Picture,
    scale: f64,
    mut text: impl FnMut(&mut B, &Text) -> std::result::Result<(), DrawingErrorKind<B::ErrorType>>,
) -> std::result::Result<(), DrawingErrorKind<B::ErrorType>> {
    let at = |v: f64| (v * scale).round() as i32;
    let point = |p: &(f64, f64)| (at(p.0), at(p.1));
    let pen = |color: Color, width: f64| Pen(color, (width * scale).round().max(1.0) as u32);
    let corners = |b: &Box| ((at(b.x), at(b.y)), (at(b.right()), at(b.bottom())));
    for shape in &picture.shapes {
        match shape {
            Shape::Fill(b, color) => {
                let (from, to) = corners(b);
                backend.draw_rect(from, to, &pen(*color, 0.0), true)?;
            }
            Shape::Frame(b, color, width) => {
                let ((l, t), (r, b)) = corners(b);
                backend
                    .draw_path([(l, t), (r, t), (r, b), (l, b), (l, t)], &pen(*color, *width))?;
            }
            Shape::Line(points, color, width) => {
                backend.draw_path(points.iter().map(point), &pen(*color, *width))?;
            }
            Shape::Polygon(points, color) => {
                backend.fill_polygon(points.iter().map(point), &pen(*color, 0.0))?;
            }
            Shape::Disc(center, radius, color) => {
                let radius = (radius * scale).round().max(1.0) as u32;
                backend.draw_circle(point(center), radius, &pen(*color, 0.0), true)?;
            }
            Shape::Text(t) => text(backend, t)?,
        }
    }
    Ok(())
}

pub(super) fn svg(picture: &Picture) -> Result<String> {
    let size = |v: f64| (v * SVG_STEPS).ceil() as u32;
    let mut body = String::new();
    {
        let mut backend =
            SVGBackend::with_string(&mut body, (size(picture.width), size(picture.height)));
        shapes(&mut backend, picture, SVG_STEPS, svg_text).map_err(failed)?;
        backend.present().map_err(failed)?;
    }
    // The backend's own head has no title and the size of its steps.
    let body = body.split_once(">\n").map_or("", |(_, rest)| rest);
    let (width, height) = (size(picture.width), size(picture.height));
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\"/>\n{body}",
        picture.width.ceil(),
        picture.height.ceil(),
        escape(&picture.title),
        escape(&picture.description),
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn svg_text(
    backend: &mut SVGBackend<'_>,
    text: &Text,
) -> std::result::Result<(), DrawingErrorKind<std::io::Error>> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let horizontal = match text.anchor {
        Anchor::Left => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    // The backend divides the size by 1.24, and puts the baseline 0.76 em below the top.
    let (em, x, y) = (text.size * SVG_STEPS, text.x * SVG_STEPS, text.y * SVG_STEPS);
    let (r, g, b) = text.color;
    let color = RGBColor(r, g, b);
    let mut style: TextStyle<'_> = (FontFamily::Name(FAMILY), (em * 1.24).round())
        .into_text_style(&(u32::MAX, u32::MAX))
        .color(&color)
        .pos(Pos::new(horizontal, VPos::Top));
    let above = 0.76 * em;
    let mut at = (x.round() as i32, (y - above).round() as i32);
    if text.upright {
        style = style.transform(plotters::style::FontTransform::Rotate270);
        at = ((x - above).round() as i32, y.round() as i32);
    }
    backend.draw_text(&text.text, &style, at)
}

pub(super) fn png(picture: &Picture) -> Result<Vec<u8>> {
    let size = |v: f64| (v * PNG_PIXELS).ceil() as u32;
    let (width, height) = (size(picture.width), size(picture.height));
    let mut pixels = vec![255; width as usize * height as usize * 3];
    {
        let mut backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let page = ((0, 0), (width as i32, height as i32));
        backend.draw_rect(page.0, page.1, &Pen(PAGE, 1), true).map_err(failed)?;
        shapes(&mut backend, picture, PNG_PIXELS, png_text).map_err(failed)?;
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

fn png_text<B: DrawingBackend>(
    backend: &mut B,
    text: &Text,
) -> std::result::Result<(), DrawingErrorKind<B::ErrorType>> {
    let Some(font) = FONT.as_ref() else { return Ok(()) };
    let em = (text.size * PNG_PIXELS) as f32;
    // The font's scale is the height of its lines, of which an em is a part.
    let scale = PxScale::from(em * font.height_unscaled() / font.units_per_em().unwrap_or(2048.0));
    let scaled = font.as_scaled(scale);
    let width = super::font::width(&text.text, f64::from(em));
    let before = match text.anchor {
        Anchor::Left => 0.0,
        Anchor::Middle => width / 2.0,
        Anchor::Right => width,
    };
    let (x, y) = (text.x * PNG_PIXELS, text.y * PNG_PIXELS);
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
                let color = BackendColor { alpha: f64::from(coverage.min(1.0)), rgb: text.color };
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
