/* The verification suite that Microsoft publishes for RSS hashing. */
#include <arpa/inet.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/toeplitz.h"
#include "suite.h"

static const uint8_t key[TOEPLITZ_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct vector {
	int family;
	const char *to;
	uint16_t to_port;
	const char *from;
	uint16_t from_port;
	uint32_t addresses;
	uint32_t with_ports;
} vectors[] = {
	{AF_INET, "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
	{AF_INET, "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
	{AF_INET, "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
	{AF_INET, "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
	{AF_INET, "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
	{AF_INET6, "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5,
	 0x40207d3d},
	{AF_INET6, "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c,
	 0xdde51bbf},
	{AF_INET6, "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
	 0x4b61e985, 0x02d1feef},
};

START_TEST(hashes_as_published)
{
	static struct toeplitz toeplitz;
	const struct vector *vector = &vectors[_i];
	size_t size = vector->family == AF_INET ? 4 : 16;
	uint8_t input[TOEPLITZ_INPUT_BYTES];

	toeplitz_init(&toeplitz, key);
	ck_assert_int_eq(inet_pton(vector->family, vector->from, input), 1);
	ck_assert_int_eq(inet_pton(vector->family, vector->to, input + size), 1);
	put_be16(input + 2 * size, vector->from_port);
	put_be16(input + 2 * size + 2, vector->to_port);
	ck_assert_uint_eq(toeplitz_hash(&toeplitz, input, 2 * size), vector->addresses);
	ck_assert_uint_eq(toeplitz_hash(&toeplitz, input, 2 * size + 4), vector->with_ports);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("toeplitz", &tcase);

	tcase_add_loop_test(tcase, hashes_as_published, 0, ARRAY_LENGTH(vectors));
	return suite_run(suite);
}
