#include "lib/format.h"
#include "lib/rt.h"

struct sink {
	char *buf;
	size_t size, len;
};

static void put(struct sink *s, char c)
{
	if (s->len + 1 < s->size)
		s->buf[s->len++] = c;
}

static void put_string(struct sink *s, const char *str)
{
	for (str = str ? str : "(null)"; *str; str++)
		put(s, *str);
}

static void put_number(struct sink *s, uint64_t v, unsigned base, unsigned width, char pad)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	for (; width > n; width--)
		put(s, pad);
	while (n)
		put(s, digits[--n]);
}

static void put_signed(struct sink *s, int64_t v, unsigned width, char pad)
{
	if (v < 0)
		put(s, '-');
	put_number(s, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, width, pad);
}

static const char *put_one(struct sink *s, const char *f, va_list *ap)
{
	char pad = *f == '0' ? '0' : ' ';
	unsigned width = 0;
	bool is_long = false;

	for (; *f >= '0' && *f <= '9'; f++)
		width = width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l' || *f == 'z'; f++)
		is_long = true;
	switch (*f) {
	case 's':
		put_string(s, va_arg(*ap, const char *));
		break;
	case 'c':
		put(s, (char)va_arg(*ap, int));
		break;
	case 'd':
		put_signed(s, is_long ? va_arg(*ap, int64_t) : va_arg(*ap, int), width, pad);
		break;
	case 'u':
	case 'x':
		put_number(s, is_long ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned),
			   *f == 'u' ? 10 : 16, width, pad);
		break;
	case 'p':
		put_string(s, "0x");
		put_number(s, (uint64_t)va_arg(*ap, void *), 16, 0, ' ');
		break;
	default:
		put(s, *f);
	}
	return f + 1;
}

size_t format(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct sink s = {.buf = buf, .size = size};
	va_list copy;

	va_copy(copy, ap);
	while (*fmt) {
		if (*fmt == '%' && fmt[1])
			fmt = put_one(&s, fmt + 1, &copy);
		else
			put(&s, *fmt++);
	}
	va_end(copy);
	if (size)
		buf[s.len] = '\0';
	return s.len;
}
