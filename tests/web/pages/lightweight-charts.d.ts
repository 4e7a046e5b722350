// What the scripts use of the library, which comes minified and without its types.

export const CandlestickSeries: any, HistogramSeries: any, LineSeries: any;
export const ColorType: any, CrosshairMode: any, LineStyle: any;
export const createChart: (container: HTMLElement, options: object) => any;
