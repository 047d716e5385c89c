#pragma once

#include <assert.h>
#include <stdint.h>

/*
 * The synthetic keyboard and mouse on the wire (Linux drivers/input/serio/hyperv-keyboard.c and
 * drivers/hid/hid-hyperv.c).  All numbers are little-endian.
 */

/* Before each message of the mouse and of the video device. */
struct pipe_header {
	uint32_t type;
	uint32_t size; /* of what follows */
} __attribute__((packed));
static_assert(sizeof(struct pipe_header) == 8, "wire layout");

#define PIPE_MESSAGE_DATA 1u

/* The keyboard: no header before its messages. */
enum keyboard_message {
	KEYBOARD_PROTOCOL_REQUEST = 1,
	KEYBOARD_PROTOCOL_RESPONSE = 2,
	KEYBOARD_EVENT = 3,
	KEYBOARD_LED_INDICATORS = 4,
};

#define KEYBOARD_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define KEYBOARD_ACCEPTED	       1u

struct keyboard_protocol_request {
	uint32_t type;
	uint32_t version;
} __attribute__((packed));

struct keyboard_protocol_response {
	uint32_t type;
	uint32_t status;
} __attribute__((packed));

/* A make code of AT set 1, and what comes before or becomes of it. */
#define KEYBOARD_BREAK 2u
#define KEYBOARD_E0    4u
#define KEYBOARD_E1    8u

struct keyboard_event {
	uint32_t type;
	uint16_t make_code;
	uint16_t reserved;
	uint32_t info;
} __attribute__((packed));
static_assert(sizeof(struct keyboard_event) == 12, "wire layout");

#define KEYBOARD_LED_SCROLL 1u
#define KEYBOARD_LED_NUM    2u
#define KEYBOARD_LED_CAPS   4u

struct keyboard_leds {
	uint32_t type;
	uint16_t leds;
	uint16_t reserved;
} __attribute__((packed));

/* The mouse. */
enum mouse_message {
	MOUSE_PROTOCOL_REQUEST = 0,
	MOUSE_PROTOCOL_RESPONSE = 1,
	MOUSE_DEVICE_INFO = 2,
	MOUSE_DEVICE_INFO_ACK = 3,
	MOUSE_INPUT_REPORT = 4,
};

#define MOUSE_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))

struct mouse_header {
	uint32_t type;
	uint32_t size; /* of what follows */
} __attribute__((packed));

struct mouse_protocol_request {
	struct mouse_header header;
	uint32_t version;
} __attribute__((packed));

struct mouse_protocol_response {
	struct mouse_header header;
	uint32_t version;
	uint8_t approved;
} __attribute__((packed));
static_assert(sizeof(struct mouse_protocol_response) == 13, "wire layout");

/* Followed by the report descriptor. */
struct mouse_device_info {
	struct mouse_header header;
	uint32_t size;
	uint16_t vendor;
	uint16_t product;
	uint16_t version;
	uint16_t reserved[11];
	/* A HID descriptor (USB HID 1.11, 6.2.1). */
	uint8_t length;
	uint8_t descriptor_type;
	uint16_t hid_version;
	uint8_t country;
	uint8_t descriptor_count;
	uint8_t report_type;
	uint16_t report_length;
} __attribute__((packed));
static_assert(sizeof(struct mouse_device_info) == 8 + 32 + 9, "wire layout");

/* As the report descriptor in mouse.c has it. */
struct mouse_report {
	uint8_t buttons;
	uint16_t x; /* 0 to 32767 across the screen */
	uint16_t y;
	int8_t wheel; /* away from the user: positive */
	int8_t pan;
} __attribute__((packed));
static_assert(sizeof(struct mouse_report) == 7, "wire layout");

struct mouse_input_report {
	struct mouse_header header;
	struct mouse_report report;
} __attribute__((packed));
