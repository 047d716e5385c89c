#include "base/keys.h"

#include <string.h>
#include <strings.h>

#include "base/checked.h"

/* The name and the keysym are the key's alone: where two have one name or keysym, the first counts.
 * NULL: no name; 0: no keysym. */
struct named_key {
	const char *name;
	uint32_t keysym;
	uint32_t stroke;
};

static const struct named_key named[] = {
	{"esc", 0xff1b, 0x01},
	{"backspace", 0xff08, 0x0e},
	{"tab", 0xff09, 0x0f},
	{NULL, 0xfe20, 0x0f}, /* tab with shift */
	{"enter", 0xff0d, 0x1c},
	{"ctrl", 0xffe3, 0x1d},
	{"shift", 0xffe1, 0x2a},
	{"rightshift", 0xffe2, 0x36},
	{"alt", 0xffe9, 0x38},
	{NULL, 0xffe7, 0x38}, /* Meta_L */
	{"space", 0, 0x39},
	{"minus", 0, 0x0c},
	{"capslock", 0xffe5, 0x3a},
	{"f1", 0xffbe, 0x3b},
	{"f2", 0xffbf, 0x3c},
	{"f3", 0xffc0, 0x3d},
	{"f4", 0xffc1, 0x3e},
	{"f5", 0xffc2, 0x3f},
	{"f6", 0xffc3, 0x40},
	{"f7", 0xffc4, 0x41},
	{"f8", 0xffc5, 0x42},
	{"f9", 0xffc6, 0x43},
	{"f10", 0xffc7, 0x44},
	{"f11", 0xffc8, 0x57},
	{"f12", 0xffc9, 0x58},
	{"numlock", 0xff7f, 0x45},
	{"scrolllock", 0xff14, 0x46},
	{"sysrq", 0xff15, 0x54},
	{"print", 0xff61, KEYS_E0 | 0x37},
	{"rightctrl", 0xffe4, KEYS_E0 | 0x1d},
	{"rightalt", 0xffea, KEYS_E0 | 0x38},
	{NULL, 0xfe03, KEYS_E0 | 0x38}, /* ISO_Level3_Shift */
	{"home", 0xff50, KEYS_E0 | 0x47},
	{"up", 0xff52, KEYS_E0 | 0x48},
	{"pageup", 0xff55, KEYS_E0 | 0x49},
	{"left", 0xff51, KEYS_E0 | 0x4b},
	{"right", 0xff53, KEYS_E0 | 0x4d},
	{"end", 0xff57, KEYS_E0 | 0x4f},
	{"down", 0xff54, KEYS_E0 | 0x50},
	{"pagedown", 0xff56, KEYS_E0 | 0x51},
	{"insert", 0xff63, KEYS_E0 | 0x52},
	{"delete", 0xffff, KEYS_E0 | 0x53},
	{"meta", 0xffeb, KEYS_E0 | 0x5b},
	{"rightmeta", 0xffec, KEYS_E0 | 0x5c},
	{"menu", 0xff67, KEYS_E0 | 0x5d},
	/* The number pad, with its digits and without. */
	{"kpmultiply", 0xffaa, 0x37},
	{"kp7", 0xffb7, 0x47},
	{NULL, 0xff95, 0x47},
	{"kp8", 0xffb8, 0x48},
	{NULL, 0xff97, 0x48},
	{"kp9", 0xffb9, 0x49},
	{NULL, 0xff9a, 0x49},
	{"kpminus", 0xffad, 0x4a},
	{"kp4", 0xffb4, 0x4b},
	{NULL, 0xff96, 0x4b},
	{"kp5", 0xffb5, 0x4c},
	{NULL, 0xff9d, 0x4c},
	{"kp6", 0xffb6, 0x4d},
	{NULL, 0xff98, 0x4d},
	{"kpplus", 0xffab, 0x4e},
	{"kp1", 0xffb1, 0x4f},
	{NULL, 0xff9c, 0x4f},
	{"kp2", 0xffb2, 0x50},
	{NULL, 0xff99, 0x50},
	{"kp3", 0xffb3, 0x51},
	{NULL, 0xff9b, 0x51},
	{"kp0", 0xffb0, 0x52},
	{NULL, 0xff9e, 0x52},
	{"kpdot", 0xffae, 0x53},
	{NULL, 0xff9f, 0x53},
	{"kpenter", 0xff8d, KEYS_E0 | 0x1c},
	{"kpdivide", 0xffaf, KEYS_E0 | 0x35},
};

/* The rows of characters, and the code of the first in each. */
static const struct {
	uint8_t first;
	const char *plain;
	const char *shifted;
} rows[] = {
	{0x02, "1234567890-=", "!@#$%^&*()_+"},
	{0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
	{0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
	{0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
	{0x39, " ", ""},
	{0x1c, "\n", ""},
	{0x0f, "\t", ""},
};

uint32_t keys_of_char(char character, bool *shift)
{
	*shift = false;
	for (size_t i = 0; character && i < ARRAY_LENGTH(rows); i++) {
		const char *plain = strchr(rows[i].plain, character);
		const char *shifted = strchr(rows[i].shifted, character);

		*shift = shifted != NULL;
		if (plain)
			return rows[i].first + (uint32_t)(plain - rows[i].plain);
		if (shifted)
			return rows[i].first + (uint32_t)(shifted - rows[i].shifted);
	}
	return 0;
}

uint32_t keys_of_keysym(uint32_t keysym)
{
	bool shift;

	if (keysym >= ' ' && keysym <= '~')
		return keys_of_char((char)keysym, &shift);
	for (size_t i = 0; i < ARRAY_LENGTH(named); i++) {
		if (keysym && named[i].keysym == keysym)
			return named[i].stroke;
	}
	return 0;
}

uint32_t keys_of_name(const char *name, size_t length)
{
	bool shift;

	if (length == 1)
		return keys_of_char(name[0], &shift);
	for (size_t i = 0; i < ARRAY_LENGTH(named); i++) {
		if (named[i].name && strlen(named[i].name) == length &&
		    strncasecmp(named[i].name, name, length) == 0)
			return named[i].stroke;
	}
	return 0;
}

const char *keys_name(unsigned int index)
{
	for (size_t i = 0; i < ARRAY_LENGTH(named); i++) {
		if (named[i].name && index-- == 0)
			return named[i].name;
	}
	return NULL;
}
