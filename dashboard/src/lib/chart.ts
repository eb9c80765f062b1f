// How a chart is drawn: its description, and uPlot's options made from it. Colours are read when drawing, so that they follow the theme.
import uPlot from 'uplot';

/** Which of `--series-1` to `--series-5` in base.css. */
export type Hue = 1 | 2 | 3 | 4 | 5;

export interface ChartSeries {
  name: string;
  hue: Hue;
  /** A wish or a limit rather than a finding. */
  isDashed?: boolean;
  /** One for each moment; null where nothing is known. */
  values: (number | null)[];
}

/** Something that happened, as a vertical line with a label. */
export interface Mark {
  /** Seconds since the epoch. */
  at: number;
  label: string;
}

/** What the values are: which numbers stand on the axis, and how they read. */
export interface Unit {
  format: (value: number) => string;
  /** Distances between ticks, ascending. */
  ticks: number[];
  /** What the axis reaches at least. */
  least: number;
}

/** `bars` stand on each other, each as wide as its step; `steps` hold until the next; `points` are single findings. */
export type ChartKind = 'lines' | 'bars' | 'steps' | 'points';

export interface ChartData {
  kind: ChartKind;
  unit: Unit;
  /** The middle of each step, seconds since the epoch. */
  moments: number[];
  series: ChartSeries[];
  /** What the time axis spans, seconds since the epoch. */
  from: number;
  to: number;
}

/** Charts with this key share one cursor. */
const SYNC_KEY = 'greenroom';
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const AXIS_WIDTH = 62;
const LONGEST_LABEL = 22;

/** The colours that a chart needs, as the theme has them now. */
export interface Palette {
  series: string[];
  text: string;
  line: string;
  mark: string;
}

/** Reads the palette. `light-dark()` is only resolved in a real property, so an element has to wear each colour. */
export function readPalette(within: HTMLElement): Palette {
  const probe = within.appendChild(document.createElement('span'));
  const colour = (token: string) => {
    probe.style.color = `var(${token})`;
    return getComputedStyle(probe).color;
  };
  const palette = {
    series: [1, 2, 3, 4, 5].map((hue) => colour(`--series-${hue}`)),
    text: colour('--text-soft'),
    line: colour('--line'),
    mark: colour('--line-strong'),
  };
  probe.remove();
  return palette;
}

/** The series in the order in which they are drawn: of bars, the topmost first, so that each covers all but its own part. */
const drawn = ({ kind, series }: ChartData): ChartSeries[] => (kind === 'bars' ? series.toReversed() : series);

/** The data as uPlot wants it; bars reach up to the sum of what they stand on and themselves. */
export function aligned(data: ChartData): uPlot.AlignedData {
  const sums = data.moments.map(() => 0);
  const reach = new Map(
    data.series.map((one) => [
      one,
      data.kind === 'bars'
        ? one.values.map((value, step) => (value === null ? null : (sums[step] = (sums[step] ?? 0) + value)))
        : one.values,
    ]),
  );
  return [data.moments, ...drawn(data).map((one) => reach.get(one) ?? [])];
}

/** Whether there is anything to draw. */
export const isEmpty = (series: ChartSeries[]): boolean =>
  series.every((one) => one.values.every((value) => value === null));

interface Look {
  data: () => ChartData;
  marks: () => Mark[];
  palette: () => Palette;
  /** The step at the cursor; undefined when it leaves. */
  onCursor: (step: number | undefined) => void;
  /** A span of time that was drawn with the pointer. */
  onSpan?: (from: number, to: number) => void;
}

/** uPlot's options for a chart of the size given. */
export function options(width: number, height: number, look: Look): uPlot.Options {
  const { kind, unit } = look.data();
  const stroke = (hue: Hue) => () => look.palette().series[hue - 1] ?? '';
  const grid = { stroke: () => look.palette().line, width: 1 };
  return {
    width,
    height,
    padding: [14, 20, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: look.onSpan !== undefined, y: false, setScale: false },
      points: { show: kind !== 'bars' },
      sync: { key: SYNC_KEY, scales: ['x', null] },
    },
    scales: {
      x: { time: true, range: () => [look.data().from, look.data().to] },
      y: { range: (_, __, max) => [0, Math.max((max ?? 0) * 1.08, look.data().unit.least)] },
    },
    axes: [
      {
        stroke: () => look.palette().text,
        grid: { show: false },
        ticks: grid,
        font: FONT,
        size: 30,
        space: 76,
        values: clockTimes,
      },
      {
        stroke: () => look.palette().text,
        grid,
        ticks: { show: false },
        font: FONT,
        size: AXIS_WIDTH,
        space: 24,
        incrs: unit.ticks,
        values: (_, splits) => splits.map((value) => look.data().unit.format(value)),
      },
    ],
    series: [
      {},
      ...drawn(look.data()).map(({ hue, isDashed }) => ({
        ...pathsOf(kind, stroke(hue)),
        stroke: stroke(hue),
        dash: isDashed ? [4, 4] : undefined,
      })),
    ],
    hooks: {
      drawClear: [(chart) => drawMarks(chart, look.marks(), look.palette())],
      setCursor: [(chart) => look.onCursor(chart.cursor.idx ?? undefined)],
      setSelect: [
        (chart) => {
          const { left, width } = chart.select;
          if (width > 4) look.onSpan?.(chart.posToVal(left, 'x'), chart.posToVal(left + width, 'x'));
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

function pathsOf(kind: ChartKind, colour: () => string): uPlot.Series {
  const { bars, stepped, linear } = uPlot.paths;
  if (kind === 'bars') return { paths: bars?.({ size: [0.9, 40] }), fill: colour, width: 0, points: { show: false } };
  if (kind === 'points') return { paths: () => null, points: { show: true, size: 7, fill: colour } };
  const paths = kind === 'steps' ? stepped?.({ align: 1 }) : linear?.();
  // A value between two gaps would be no line at all: it is a point.
  return { paths, width: 1.75, points: { size: 5, fill: colour, filter: lonely } };
}

/** The values that have no neighbour. */
function lonely(chart: uPlot, series: number): number[] {
  const values = chart.data[series] ?? [];
  const isKnown = (step: number) => values[step] !== null && values[step] !== undefined;
  return [...chart.data[0].keys()].filter((step) => isKnown(step) && !isKnown(step - 1) && !isKnown(step + 1));
}

const clock = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
const time = new Intl.DateTimeFormat(undefined, clock);
const timeWithSeconds = new Intl.DateTimeFormat(undefined, { ...clock, second: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const dayAndTime = new Intl.DateTimeFormat(undefined, {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  ...clock,
});

/** Times for the axis in the viewer's zone: the day where it begins, seconds where ticks are closer than a minute. */
function clockTimes(_: uPlot, splits: number[], __: number, ___: number, distance: number): string[] {
  return splits.map((second) => {
    const date = new Date(second * 1000);
    if (distance >= 86_400 || (date.getHours() === 0 && date.getMinutes() === 0 && distance >= 60))
      return day.format(date);
    return (distance < 60 ? timeWithSeconds : time).format(date);
  });
}

/** A moment for people, as exact as steps of `step` seconds deserve. */
export const formatMoment = (second: number, step: number): string =>
  (step < 60 ? timeWithSeconds : step < 600 ? time : dayAndTime).format(new Date(second * 1000));

/** Vertical lines with their labels, each label where the one before leaves room. */
function drawMarks(chart: uPlot, marks: Mark[], palette: Palette) {
  const { ctx, bbox } = chart;
  const ratio = uPlot.pxRatio;
  let free = bbox.left;
  ctx.save();
  ctx.strokeStyle = palette.mark;
  ctx.fillStyle = palette.text;
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.font = FONT.replace('11.5px', `${11.5 * ratio}px`);
  ctx.textBaseline = 'top';
  for (const mark of marks) {
    const x = Math.round(chart.valToPos(mark.at, 'x', true)) + ratio / 2;
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top - 12 * ratio);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const label = mark.label.length > LONGEST_LABEL ? `${mark.label.slice(0, LONGEST_LABEL - 1)}…` : mark.label;
    const width = ctx.measureText(label).width + 8 * ratio;
    const isRoomRight = x + width < bbox.left + bbox.width;
    const left = isRoomRight ? x + 4 * ratio : x - width;
    if (left < free) continue;
    ctx.textAlign = isRoomRight ? 'left' : 'right';
    ctx.fillText(label, isRoomRight ? left : x - 4 * ratio, bbox.top - 13 * ratio);
    free = isRoomRight ? left + width : x;
  }
  ctx.restore();
}
