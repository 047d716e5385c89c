#pragma once

#include "devices/table.h"
#include "devices/vsp/balloon.h"
#include "suite.h"
#include "vsc_bus.h"

/* A guest with a dynamic memory driver, played by the test, and management at the other end; what
 * is not as it should be fails the test. */

#define MIB	     (1ull << 20)
#define PAGE	     4096ull
#define RAM	     (64 * MIB)
#define ROOM	     (512 * MIB)
#define ALIGN_128MIB (7ull << 2)
#define CAPABLE	     (DYNMEM_CAN_BALLOON | DYNMEM_CAN_HOT_ADD | ALIGN_128MIB)

extern struct vsc *vsc;
extern struct balloon *balloon; /* the device; NULL: none yet */
extern struct vsc_channel channel;
extern uint8_t packet[VSC_PACKET_MAX];
extern unsigned int plugs; /* how often memory was plugged in */
extern uint64_t room;	   /* for it, in bytes; ROOM unless a test sets it first */

/* Of RAM bytes, with room for as many as room says; no device yet. */
void rig_make_machine(void);
/* The dynamic memory device; consumes config.  0 or its negative errno, with its sentence in *err
 * (NULL: not wanted). */
int rig_make_device(json_t *config, struct error *err);
/* Dynamic memory from 16 MiB to all that there is room for; max_version: NULL or like "1.0". */
json_t *rig_config_of(const char *max_version);
/* That device, and a guest that has connected to the bus. */
void rig_start(const char *max_version);
/* The end of the device, if any, and of the machine. */
void rig_tear_down(void);
/* A machine with a driver that can do everything. */
void rig_set_up(void);
/* One of the device's functions, on the main loop. */
void rig_on_main(void (*function)(void *device));
/* As the driver does it. */
void rig_open_channel(void);
/* 0, or -EAGAIN where the ring has no room. */
int rig_try_send(const void *message, uint32_t size);
/* Sends what there must be room for. */
void rig_send(const void *message, uint32_t size);
/* The next message, which is of that type; its size. */
uint32_t rig_receive(uint16_t type, void *message, uint32_t max);
/* A number of what the device shows to management. */
json_int_t rig_number(const char *key);
/* A word of it. */
void rig_expect_text(const char *key, const char *value);
/* Until the number is that. */
void rig_wait_number(const char *key, json_int_t value);
/* What management sets, which is taken.  Consumes parameters. */
void rig_set(json_t *parameters);
/* In bytes. */
void rig_set_target(uint64_t bytes);
/* What management sets, which is refused in those words.  Consumes parameters. */
void rig_expect_refusal(json_t *parameters, const char *words);
/* Whether the host takes the driver's version; last: there is none after it. */
bool rig_propose(uint32_t version, bool last);
/* DYNMEM_CAN_ bits, which the host takes. */
void rig_tell_capabilities(uint64_t capabilities);
/* The host tells how much there can be. */
void rig_expect_maximum(void);
/* From the channel to a driver that is ready. */
void rig_connect_driver(uint64_t capabilities);
/* A status report of so many bytes, and the tick in which the host looks at it. */
void rig_report(uint64_t committed, uint64_t available);
/* The pages that the host asks for next. */
uint32_t rig_expect_balloon(void);
/* An answer with DYNMEM_RANGE words; more: it is not the last. */
void rig_send_ranges(const uint64_t *ranges, uint32_t count, bool more);
/* The ranges that the host gives back next; how many they are. */
uint32_t rig_expect_unballoon(uint64_t ranges[DYNMEM_RANGES_MAX]);
/* They have come. */
void rig_answer_unballoon(void);
/* What the host adds next. */
struct dynmem_hot_add_request rig_expect_hot_add(void);
/* So many pages of it were taken; done: 1, or 0 for none. */
void rig_answer_hot_add(uint64_t pages, uint32_t done);
/* A byte of the guest's memory. */
uint8_t rig_byte_at(uint64_t gpa);
/* Nothing more than what was received came from the host: it has answered a message after it. */
void rig_expect_silence(void);
