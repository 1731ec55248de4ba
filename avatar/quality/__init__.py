"""Is a rendered face any good? Measures and checks on pictures, without looking into the decoder that drew them."""
