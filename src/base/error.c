#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int error_set(struct error *err, int errnum, const char *format, ...)
{
	va_list arguments;
	int length;

	if (err) {
		va_start(arguments, format);
		length = vsnprintf(err->text, sizeof(err->text), format, arguments);
		va_end(arguments);
		if (length >= (int)sizeof(err->text))
			text_trim(err->text);
	}
	return -errnum;
}

#define FREE_MEMORY "free some memory of the host, or give the VM less of everything"

const char *error_remedy(int errnum, const char *otherwise)
{
	switch (errnum) {
	case EMFILE:
		return "raise `ulimit -n`, or lower --cpus";
	case ENFILE:
		return "close other programs, or raise the sysctl fs.file-max";
	case ENOMEM:
		return FREE_MEMORY;
	default:
		return otherwise;
	}
}

int error_host(struct error *err, int errnum, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error_set(err, errnum, "%s: %s; %s", text, strerror(errnum),
			 error_remedy(errnum, "`bulkhead doctor` may tell why"));
}

int error_memory(struct error *err, const char *what)
{
	return error_set(err, ENOMEM, "there is not enough memory for %.200s; " FREE_MEMORY, what);
}
