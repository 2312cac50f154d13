"""A search space of networks that train within a second, for runs of the whole program."""

TINY = """
stem = "none"
optimizer = "nesterov"
momentum = 0.9
c1_num_convs = 2
c2_num_convs = 2
c1_kind = "dense"
c1_inner_width = 4
c1_width = {kind = "int", low = 4, high = 8, default = 4}
c2_kind = "depthwise_separable"
c2_inner_width = 8
c2_width = {kind = "int", low = 8, high = 16, default = 8}
c3_kind = "dilated"
c3_inner_width = 8
c3_width = 8
output_kind = "depthwise_separable"
output_width = 8
batch_size = 128
lr = {kind = "log", low = 0.001, high = 0.3, default = 0.1}
"""
