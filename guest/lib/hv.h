#pragma once
/* The Hyper-V interface as the TLFS has it: registers, hypercalls, and the structures in RAM. */

#include "lib/cpu.h"

#define HV_MSR_GUEST_OS_ID	     0x40000000
#define HV_MSR_HYPERCALL	     0x40000001
#define HV_MSR_VP_INDEX		     0x40000002
#define HV_MSR_RESET		     0x40000003
#define HV_MSR_VP_RUNTIME	     0x40000010
#define HV_MSR_TIME_REF_COUNT	     0x40000020
#define HV_MSR_REFERENCE_TSC	     0x40000021
#define HV_MSR_TSC_FREQUENCY	     0x40000022
#define HV_MSR_APIC_FREQUENCY	     0x40000023
#define HV_MSR_VP_ASSIST_PAGE	     0x40000073
#define HV_MSR_SCONTROL		     0x40000080
#define HV_MSR_SVERSION		     0x40000081
#define HV_MSR_SIEFP		     0x40000082
#define HV_MSR_SIMP		     0x40000083
#define HV_MSR_EOM		     0x40000084
#define HV_MSR_SINT0		     0x40000090
#define HV_MSR_STIMER0_CONFIG	     0x400000b0
#define HV_MSR_STIMER0_COUNT	     0x400000b1
#define HV_MSR_CRASH_P0		     0x40000100
#define HV_MSR_CRASH_CTL	     0x40000105
#define HV_MSR_TSC_INVARIANT_CONTROL 0x40000118
#define HV_MSR_FIRST		     0x40000000
#define HV_MSR_LAST		     0x400001ff

#define HV_SINTS	 16
#define HV_STIMERS	 4
#define HV_PAGE_ENABLE	 1UL
#define HV_SINT_MASKED	 (1UL << 16)
#define HV_SINT_AUTO_EOI (1UL << 17)

#define HV_STIMER_ENABLE      (1UL << 0)
#define HV_STIMER_PERIODIC    (1UL << 1)
#define HV_STIMER_LAZY	      (1UL << 2)
#define HV_STIMER_AUTO_ENABLE (1UL << 3)
#define HV_STIMER_VECTOR(v)   ((uint64_t)(v) << 4)
#define HV_STIMER_DIRECT      (1UL << 12)
#define HV_STIMER_SINT(s)     ((uint64_t)(s) << 16)

#define HV_CALL_NOTIFY_LONG_SPIN_WAIT  0x0008
#define HV_CALL_POST_MESSAGE	       0x005c
#define HV_CALL_SIGNAL_EVENT	       0x005d
#define HV_CALL_EXT_QUERY_CAPABILITIES 0x8001
#define HV_CALL_FAST		       (1UL << 16)

#define HV_STATUS_SUCCESS		  0
#define HV_STATUS_INVALID_HYPERCALL_CODE  2
#define HV_STATUS_INVALID_HYPERCALL_INPUT 3
#define HV_STATUS_INVALID_ALIGNMENT	  4
#define HV_STATUS_INVALID_PARAMETER	  5
#define HV_STATUS_INVALID_PORT_ID	  17
#define HV_STATUS_INVALID_CONNECTION_ID	  18
#define HV_STATUS_INSUFFICIENT_BUFFERS	  19

#define HV_MESSAGE_NONE		 0
#define HV_MESSAGE_TIMER_EXPIRED 0x80000010U
#define HV_MESSAGE_PENDING	 1
#define HV_MESSAGE_PAYLOAD	 240

struct hv_message {
	uint32_t type;
	uint8_t payload_size, flags, reserved[2];
	uint64_t sender;
	union {
		uint8_t bytes[HV_MESSAGE_PAYLOAD];
		struct {
			uint32_t index, reserved;
			uint64_t expiration, delivery;
		} timer;
	};
};

struct hv_message_page {
	struct hv_message sint[HV_SINTS];
};

struct hv_event_page {
	uint8_t sint[HV_SINTS][256];
};

struct hv_post_message {
	uint32_t connection, reserved, type, size;
	uint8_t payload[HV_MESSAGE_PAYLOAD];
};

struct hv_tsc_page {
	volatile uint32_t sequence;
	uint32_t reserved;
	volatile uint64_t scale;
	volatile int64_t offset;
};

/* Linux's own form of a guest OS id: open source, type Linux, version 6.12. */
#define HV_OS_ID 0x8100060c00000000UL

/* Set the OS id and enable the hypercall page; bails out if that does not work. */
void hv_enable(void);
uint64_t hv_hypercall_page(void);
/* The whole result value; the status is its low 16 bits. */
uint64_t hv_call(uint64_t control, uint64_t input, uint64_t output);
/* PostMessage of size bytes of payload from an aligned copy; returns the status. */
uint16_t hv_post(uint32_t connection, uint32_t type, const void *payload, uint32_t size);
/* SignalEvent, in the fast form; returns the status. */
uint16_t hv_signal(uint32_t connection, uint16_t flag);

/* Reference time in 100 ns units. */
uint64_t hv_time(void);
/* The reference TSC page's time at this TSC reading. */
uint64_t hv_tsc_page_time(const struct hv_tsc_page *page, uint64_t tsc);

/* Per VP: its message and event pages, enabled, every SINT masked. */
struct hv_synic {
	struct hv_message_page *messages;
	struct hv_event_page *events;
};

void synic_enable(struct hv_synic *s);
void synic_disable(struct hv_synic *s);
/* Unmask a SINT with this vector. */
void synic_sint(unsigned sint, unsigned vector);
/* Free the slot and, if more messages wait, say so by EOM. Returns true if one was in it. */
bool synic_take(struct hv_synic *s, unsigned sint, struct hv_message *out);
