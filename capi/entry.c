//go:build cgo && linux && (amd64 || arm64)

// The functions of minfc.h. They check what can be checked without Go, bring structs to the size that the library knows, and enter Go.
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include "_cgo_export.h"

// A forked child has one thread, and the threads of Go's runtime are not among them: a call that entered Go would wait for ever.
static volatile int forked;

static void note_fork(void) { forked = 1; }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, note_fork); }

static int fail(minfc_error *error, int code, const char *format, ...) {
  if (error) {
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
  }
  return code;
}

// enter says whether a call may enter Go, and gives it room for its error.
static int enter(minfc_error **error, minfc_error *own) {
  if (forked)
    return fail(*error, MINFC_E_FORK, "this process is a forked child, and minfc works in its parent alone: start workers by exec");
  if (!*error) *error = own;
  (*error)->code = 0, (*error)->message[0] = 0;
  return 0;
}

#define ENTER(error)      \
  minfc_error own;        \
  if (enter(&error, &own)) return MINFC_E_FORK

#define WANT(error, pointer) \
  if (!(pointer)) return fail(error, MINFC_E_ARGUMENT, "%s: " #pointer " is NULL", __func__)

// grow copies a struct of the program into one of the library, whose fields that the program's has not stay 0, their default. oldest is the
// size of the least struct of this version: strides may be left out.
static int grow(void *to, size_t size, size_t oldest, const void *from, const char *name, minfc_error *error) {
  uint32_t version, given;
  memcpy(&version, from, sizeof version);
  memcpy(&given, (const char *)from + sizeof version, sizeof given);
  if (version != MINFC_ABI_VERSION)
    return fail(error, MINFC_E_VERSION, "%s has abi_version %u, the library has %d: %s", name, version, MINFC_ABI_VERSION,
                version ? "compile the program with the library's minfc.h" : "begin with the struct's _init function");
  if (given < oldest)
    return fail(error, MINFC_E_VERSION, "%s has struct_size %u, want %zu at least: begin with the struct's _init function", name, given,
                oldest);
  if (given > size)
    return fail(error, MINFC_E_VERSION, "%s has struct_size %u, the library's has %zu: the program was compiled with a newer minfc.h", name,
                given, size);
  memset(to, 0, size);
  memcpy(to, from, given);
  return 0;
}

#define GROW(type, full, from, oldest, error) \
  type full;                                  \
  if (grow(&full, sizeof full, oldest, from, #type, error)) return MINFC_E_VERSION

#define HEADS(full, from, error) GROW(minfc_heads, full, from, sizeof(minfc_heads), error)
#define SHAPE(full, from, error) GROW(minfc_shape, full, from, offsetof(minfc_shape, q), error)
#define POINTERS(full, from, error) GROW(minfc_pointers, full, from, offsetof(minfc_pointers, lengths_q), error)

#define NUMBER(handle) ((uintptr_t)(handle))

MINFC_API const char *minfc_version(void) { return forked ? "" : goVersion(); }

MINFC_API int minfc_open(const char *spec, minfc_device **out, minfc_error *error) {
  ENTER(error);
  WANT(error, spec);
  WANT(error, out);
  return goOpen((char *)spec, (uintptr_t *)out, error);
}

MINFC_API int minfc_device_info(minfc_device *device, char *json, size_t capacity, size_t *length, minfc_error *error) {
  ENTER(error);
  return goDeviceInfo(NUMBER(device), json, capacity, length, error);
}

MINFC_API int minfc_device_close(minfc_device *device, minfc_error *error) {
  ENTER(error);
  return goDeviceClose(NUMBER(device), error);
}

MINFC_API int minfc_alloc(minfc_device *device, uint64_t bytes, uint64_t *out, minfc_error *error) {
  ENTER(error);
  WANT(error, out);
  return goAlloc(NUMBER(device), bytes, out, error);
}

MINFC_API int minfc_free(minfc_device *device, uint64_t pointer, minfc_error *error) {
  ENTER(error);
  return goFree(NUMBER(device), pointer, error);
}

MINFC_API int minfc_copy_to_device(minfc_device *device, uint64_t to, const void *from, uint64_t bytes, void *stream,
                                   minfc_error *error) {
  ENTER(error);
  WANT(error, from);
  return goCopyToDevice(NUMBER(device), to, (void *)from, bytes, NUMBER(stream), error);
}

MINFC_API int minfc_copy_to_host(minfc_device *device, void *to, uint64_t from, uint64_t bytes, void *stream, minfc_error *error) {
  ENTER(error);
  WANT(error, to);
  return goCopyToHost(NUMBER(device), to, from, bytes, NUMBER(stream), error);
}

MINFC_API int minfc_synchronize(minfc_device *device, minfc_error *error) {
  ENTER(error);
  return goSynchronize(NUMBER(device), error);
}

MINFC_API int minfc_attention_new(minfc_device *device, const char *spec, const minfc_heads *heads, minfc_attention **out,
                                  minfc_error *error) {
  ENTER(error);
  WANT(error, spec);
  WANT(error, heads);
  WANT(error, out);
  HEADS(full, heads, error);
  return goAttentionNew(NUMBER(device), (char *)spec, &full, (uintptr_t *)out, error);
}

MINFC_API int minfc_attention_close(minfc_attention *attention, minfc_error *error) {
  ENTER(error);
  return goAttentionClose(NUMBER(attention), error);
}

MINFC_API int minfc_prepare(minfc_attention *attention, const minfc_shape *shape, minfc_call **out, uint64_t *workspace,
                            minfc_error *error) {
  ENTER(error);
  WANT(error, shape);
  WANT(error, out);
  WANT(error, workspace);
  SHAPE(full, shape, error);
  return goPrepare(NUMBER(attention), &full, (uintptr_t *)out, workspace, error);
}

MINFC_API int minfc_call_close(minfc_call *call, minfc_error *error) {
  ENTER(error);
  return goCallClose(NUMBER(call), error);
}

MINFC_API int minfc_run(const minfc_call *call, const minfc_pointers *pointers, void *stream, minfc_error *error) {
  ENTER(error);
  WANT(error, pointers);
  POINTERS(full, pointers, error);
  return goRun(NUMBER(call), &full, NUMBER(stream), error);
}

MINFC_API int minfc_run_stages(const minfc_call *call, const minfc_pointers *pointers, int32_t stages, void *stream, minfc_error *error) {
  ENTER(error);
  WANT(error, pointers);
  POINTERS(full, pointers, error);
  return goRunStages(NUMBER(call), &full, stages, NUMBER(stream), error);
}

MINFC_API int minfc_prepare_recall(const minfc_call *of, minfc_rows *rows, int32_t row_count, minfc_call **out, uint64_t *workspace,
                                   minfc_error *error) {
  ENTER(error);
  WANT(error, rows);
  WANT(error, out);
  WANT(error, workspace);
  return goPrepareRecall(NUMBER(of), rows, row_count, (uintptr_t *)out, workspace, error);
}

MINFC_API int minfc_describe(const minfc_call *call, char *json, size_t capacity, size_t *length, minfc_error *error) {
  ENTER(error);
  return goDescribe(NUMBER(call), json, capacity, length, error);
}

MINFC_API int minfc_chosen(const minfc_call *call, const minfc_pointers *pointers, void *stream, char *json, size_t capacity,
                           size_t *length, minfc_error *error) {
  ENTER(error);
  WANT(error, pointers);
  POINTERS(full, pointers, error);
  return goChosen(NUMBER(call), &full, NUMBER(stream), json, capacity, length, error);
}

MINFC_API int minfc_estimate(const char *spec, const minfc_heads *heads, const minfc_shape *shape, const char *machine, char *json,
                             size_t capacity, size_t *length, minfc_error *error) {
  ENTER(error);
  WANT(error, spec);
  WANT(error, heads);
  WANT(error, shape);
  HEADS(all, heads, error);
  SHAPE(full, shape, error);
  return goEstimate((char *)spec, &all, &full, (char *)machine, json, capacity, length, error);
}

MINFC_API int minfc_plan_read(const char *name, const char *text, char *json, size_t capacity, size_t *length, minfc_error *error) {
  ENTER(error);
  WANT(error, name);
  WANT(error, text);
  return goPlanRead((char *)name, (char *)text, json, capacity, length, error);
}

MINFC_API int minfc_workload(minfc_device *device, const char *kind, uint64_t seed, const minfc_heads *heads, int32_t batch, int32_t rows,
                             uint64_t q, uint64_t k, uint64_t v, void *stream, minfc_error *error) {
  ENTER(error);
  WANT(error, kind);
  WANT(error, heads);
  HEADS(full, heads, error);
  return goWorkload(NUMBER(device), (char *)kind, seed, &full, batch, rows, q, k, v, NUMBER(stream), error);
}
