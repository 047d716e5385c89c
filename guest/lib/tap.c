#include "lib/format.h"
#include "lib/rt.h"

#define DEBUG_EXIT_PORT 0xf4

static unsigned tap_count, tap_failures;

void payload_exit(uint8_t code)
{
	outb(DEBUG_EXIT_PORT, code);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void result(bool ok, const char *skip, const char *fmt, va_list ap)
{
	char name[256];

	format(name, sizeof(name), fmt, ap);
	tap_count++;
	tap_failures += !ok;
	if (skip)
		print("ok %u - %s # SKIP %s\n", tap_count, name, skip);
	else
		print("%s %u - %s\n", ok ? "ok" : "not ok", tap_count, name);
}

void tap_ok(bool ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result(ok, NULL, fmt, ap);
	va_end(ap);
}

bool tap_is(uint64_t got, uint64_t want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result(got == want, NULL, fmt, ap);
	va_end(ap);
	if (got != want)
		tap_diag("got 0x%lx, want 0x%lx", got, want);
	return got == want;
}

void tap_skip(const char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result(true, why, fmt, ap);
	va_end(ap);
}

void tap_diag(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	format(line, sizeof(line), fmt, ap);
	va_end(ap);
	print("# %s\n", line);
}

void tap_bail(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	format(line, sizeof(line), fmt, ap);
	va_end(ap);
	print("Bail out! %s\n", line);
	payload_exit(99);
}

void tap_done(void)
{
	print("1..%u\n", tap_count);
	payload_exit(tap_failures ? 1 : 0);
}
