def write_pages(folders, docs):
    return []


def draw_headline(axes, folders):
    pass
