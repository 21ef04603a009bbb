// The GPU twin of edge/preprocess.py: a region of a uint8 BGR frame becomes the network's normalised float32 NCHW RGB.
//
// One source for nvcc (from 10.2), NVRTC and, for the tests, any C++ compiler (-x c++), so: no includes, plain C++03.
// The resize is OpenCV's own arithmetic for uint8, read from what cv2.resize answers: INTER_AREA with float weights per
// source pixel, INTER_AREA by whole factors as an integer sum, INTER_LINEAR with weights in 2048ths. Compile without
// contraction to fused multiply-adds (--fmad=false, -ffp-contract=off): then GPU and CPU give the same bits.
//
// Work of one 512 x 512 crop to 224 x 224, counted from area_span: an output pixel covers 3.14 source pixels along each
// axis on average, so 496 k pixels are read, 1.5 M single bytes, each source byte by 1.9 threads; 3.9 M float
// operations on them, 1.5 M conversions. Memory: 0.79 MB in, 0.60 MB out. On a Nano (one multiprocessor of 0.92 GHz,
// 25.6 GB/s) that is by the manual's rates 54 us for memory, 50 us for loading bytes and as long for converting them,
// 33 us for arithmetic, which overlap in part: between 0.1 and 0.2 ms; not measured. Double precision, which a Nano
// does at 1/32 speed, is spent on 40 positions per block of 256 pixels alone. From mapped memory, which a Tegra's GPU
// does not cache, each byte comes 1.9 times.

#ifdef __CUDACC__
#define CORE static __host__ __device__ __forceinline__
#else
#define CORE static inline
#endif

#ifdef __CUDA_ARCH__
#define NEAREST(x) __float2int_rn(x)  // halves to even, as cvRound
#define FLOOR(x) __double2int_rd(x)
#define CEIL(x) __double2int_ru(x)
#else
#define NEAREST(x) (int) __builtin_rintf(x)
#define FLOOR(x) (int) __builtin_floor(x)
#define CEIL(x) (int) __builtin_ceil(x)
#endif

enum { ACROSS = 32, DOWN = 8 };  // threads of a block: kernel.py's BLOCK
enum { LINEAR = 0, AREA = 1, WHOLE = 2 };  // kernel.py's RULES; WHOLE: by whole factors, 1 included
enum { GREY = 114 };  // beside a letterboxed picture: preprocess.py's LETTERBOX_GREY

// All that a launch needs, 104 bytes; kernel.py's TYPES packs the same, field by field.
struct Task {
    const unsigned char *source;  // the frame's first byte
    float *out;  // (3, out_height, out_width)
    double scale_x, scale_y;  // source pixels per output pixel: 1 / (output / source), as OpenCV has it
    int pitch_bytes;  // from one row of the frame to the next
    int x, y, w, h;  // the region that is seen; rule crop: its middle, worked out by the host
    int out_width, out_height;
    int left, top, width, height;  // where the region lies in the output; grey beside it
    int rule;
    float mean[3], std[3];  // RGB
};

// The source pixels along one axis that make one output pixel.
struct Span {
    int first, last;
    float head, body, tail;  // weights: of first, between, of last; LINEAR: of first and last in 2048ths, head and tail
};

CORE int least(int a, int b) { return a < b ? a : b; }

CORE int within(int at, int size) { return at < 0 ? 0 : least(at, size - 1); }

// The part of the source that output pixel `at` covers. A sliver under a thousandth of a pixel does not count.
CORE Span area_span(int at, double scale, int size)
{
    Span span;
    double start = at * scale, end = start + scale;
    int stop = least(FLOOR(end), size - 1), begin = least(CEIL(start), stop);
    span.first = begin;
    span.last = stop - 1;
    span.head = span.body = span.tail = (float) (1.0 / scale);
    if (end - stop > 1e-3) {
        span.last = stop;
        span.tail = (float) ((end - stop) / scale);
    }
    if (begin - start > 1e-3) {
        span.first = begin - 1;
        span.head = (float) ((begin - start) / scale);
    }
    return span;
}

// The two neighbours of output pixel `at`; beyond the outermost centres both are the last pixel.
CORE Span linear_span(int at, double scale, int size)
{
    Span span;
    float centre = (float) ((at + 0.5) * scale - 0.5);
    int before = FLOOR(centre);
    float share = centre - before;
    span.first = within(before, size);
    span.last = within(before + 1, size);
    span.head = (float) NEAREST((1.0f - share) * 2048.0f);
    span.tail = (float) NEAREST(share * 2048.0f);
    span.body = 0.0f;
    return span;
}

CORE Span whole_span(int at, double scale)
{
    Span span;
    span.first = at * (int) scale;
    span.last = span.first + (int) scale - 1;
    span.head = span.body = span.tail = 1.0f;
    return span;
}

CORE Span span_of(int rule, int at, double scale, int size)
{
    if (rule == LINEAR)
        return linear_span(at, scale, size);
    return rule == AREA ? area_span(at, scale, size) : whole_span(at, scale);
}

CORE const unsigned char *row_of(const Task &task, int y)
{
    return task.source + (unsigned long long) (task.y + y) * task.pitch_bytes + (unsigned long long) task.x * 3;
}

// Each of the following gives one pixel, blue, green, red, as cv2.resize rounds it.

CORE void linear_pixel(const Task &task, const Span &across, const Span &down, int *bgr)
{
    const unsigned char *upper = row_of(task, down.first), *lower = row_of(task, down.last);
    int left = (int) across.head, right = (int) across.tail, above = (int) down.head, below = (int) down.tail;
    for (int c = 0; c < 3; ++c) {
        int a = upper[across.first * 3 + c] * left + upper[across.last * 3 + c] * right;
        int b = lower[across.first * 3 + c] * left + lower[across.last * 3 + c] * right;
        bgr[c] = ((above * (a >> 4) >> 16) + (below * (b >> 4) >> 16) + 2) >> 2;
    }
}

CORE void area_pixel(const Task &task, const Span &across, const Span &down, int *bgr)
{
    float blue = 0.0f, green = 0.0f, red = 0.0f;
    for (int y = down.first; y <= down.last; ++y) {
        float b = 0.0f, g = 0.0f, r = 0.0f;
        float weight = y == down.first ? down.head : y == down.last ? down.tail : down.body;
        const unsigned char *at = row_of(task, y) + across.first * 3;
        for (int x = across.first; x <= across.last; ++x, at += 3) {
            float share = x == across.first ? across.head : x == across.last ? across.tail : across.body;
            b += at[0] * share;
            g += at[1] * share;
            r += at[2] * share;
        }
        blue += b * weight;
        green += g * weight;
        red += r * weight;
    }
    bgr[0] = least(NEAREST(blue), 255);
    bgr[1] = least(NEAREST(green), 255);
    bgr[2] = least(NEAREST(red), 255);
}

CORE void whole_pixel(const Task &task, const Span &across, const Span &down, int *bgr)
{
    int sum[3] = {0, 0, 0};
    for (int y = down.first; y <= down.last; ++y) {
        const unsigned char *at = row_of(task, y) + across.first * 3;
        for (int x = across.first; x <= across.last; ++x, at += 3)
            for (int c = 0; c < 3; ++c)
                sum[c] += at[c];
    }
    int wide = across.last - across.first + 1, high = down.last - down.first + 1;
    float share = 1.0f / (wide * high);
    for (int c = 0; c < 3; ++c)  // OpenCV halves twice in integers: a half goes up there, to even elsewhere
        bgr[c] = wide == 2 && high == 2 ? (sum[c] + 2) >> 2 : NEAREST(sum[c] * share);
}

// Fill one pixel of the output; the spans are those of its column and row within the placed picture.
CORE void fill_pixel(const Task &task, int column, int row, const Span &across, const Span &down)
{
    int bgr[3] = {GREY, GREY, GREY};
    int x = column - task.left, y = row - task.top;
    if (x >= 0 && x < task.width && y >= 0 && y < task.height) {
        if (task.rule == LINEAR)
            linear_pixel(task, across, down, bgr);
        else if (task.rule == AREA)
            area_pixel(task, across, down, bgr);
        else
            whole_pixel(task, across, down, bgr);
    }
    unsigned plane = (unsigned) task.out_width * task.out_height, at = (unsigned) row * task.out_width + column;
    for (int c = 0; c < 3; ++c)  // divided, not multiplied by inverses: the same bits as preprocess.py's tables
        task.out[c * plane + at] = (bgr[2 - c] / 255.0f - task.mean[c]) / task.std[c];
}

// Where a block's columns and rows come from: threads 0 to 31 work out a column each, 32 to 39 a row each. Both
// for what lies beside the picture too, where nothing is read.
CORE void fill_spans(const Task &task, int thread, int column, int row, Span *columns, Span *rows)
{
    if (thread < ACROSS)
        columns[thread] = span_of(task.rule, column + thread - task.left, task.scale_x, task.w);
    else if (thread < ACROSS + DOWN)
        rows[thread - ACROSS] = span_of(task.rule, row + thread - ACROSS - task.top, task.scale_y, task.h);
}

#ifdef __CUDACC__

extern "C" __global__ void __launch_bounds__(ACROSS * DOWN) preprocess(const Task task)
{
    __shared__ Span columns[ACROSS], rows[DOWN];
    int column = blockIdx.x * ACROSS, row = blockIdx.y * DOWN;
    fill_spans(task, threadIdx.y * ACROSS + threadIdx.x, column, row, columns, rows);
    __syncthreads();
    column += threadIdx.x;
    row += threadIdx.y;
    if (column < task.out_width && row < task.out_height)
        fill_pixel(task, column, row, columns[threadIdx.x], rows[threadIdx.y]);
}

#else

// The same blocks one after the other, for the tests.
extern "C" void preprocess(const Task *task)
{
    Span columns[ACROSS], rows[DOWN];
    for (int row = 0; row < task->out_height; row += DOWN)
        for (int column = 0; column < task->out_width; column += ACROSS) {
            for (int thread = 0; thread < ACROSS * DOWN; ++thread)
                fill_spans(*task, thread, column, row, columns, rows);
            for (int thread = 0; thread < ACROSS * DOWN; ++thread) {
                int x = thread % ACROSS, y = thread / ACROSS;
                if (column + x < task->out_width && row + y < task->out_height)
                    fill_pixel(*task, column + x, row + y, columns[x], rows[y]);
            }
        }
}

extern "C" int task_bytes() { return (int) sizeof(Task); }

#endif
